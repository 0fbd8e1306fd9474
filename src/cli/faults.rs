//! Faults and mutants that tests ask for by `HIGHWATER_FAULT` and `HIGHWATER_MUTANT`. In a release build there are none.

use std::sync::Arc;

use crate::fault::Guards;
use crate::source::Source;
use crate::state::State;
use crate::store::Store;

use super::environment::Environment;
use super::failure::Failure;
use super::terminal::Terminal;

#[cfg(debug_assertions)]
use {
    super::exit::Exit, crate::fault::FaultPlan, crate::source::faulty::FaultySource, crate::state::faulty::FaultyState,
    crate::store::faulty::FaultyStore, std::path::PathBuf,
};

/// What shall go wrong in this process.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    #[cfg(debug_assertions)]
    plan: Option<Arc<FaultPlan>>,
    #[cfg(debug_assertions)]
    log: Option<PathBuf>,
    pub guards: Guards,
}

#[cfg(debug_assertions)]
impl Faults {
    pub fn read(environment: &Environment) -> Result<Self, Failure> {
        let plan = environment.fault.as_deref().map(FaultPlan::from_text).transpose();
        let plan = plan.map_err(|error| Failure::new(Exit::Usage, format!("HIGHWATER_FAULT: {error}")))?;
        let guards = match environment.mutant.as_deref() {
            None => Guards::ALL,
            Some(name) => Guards::without(name).ok_or_else(|| {
                let failure = Failure::new(Exit::Usage, format!("HIGHWATER_MUTANT: no guard is called `{name}`"));
                failure.help(format!("the guards are {}", Guards::NAMES.join(", ")))
            })?,
        };
        Ok(Faults { plan: plan.map(Arc::new), log: environment.fault_log.clone(), guards })
    }

    pub fn in_state(&self, state: Arc<dyn State>) -> Arc<dyn State> {
        match &self.plan {
            Some(plan) => Arc::new(FaultyState::new(state, Arc::clone(plan))),
            None => state,
        }
    }

    pub fn in_store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match &self.plan {
            Some(plan) => Arc::new(FaultyStore::new(store, Arc::clone(plan))),
            None => store,
        }
    }

    pub fn in_source(&self, source: Arc<dyn Source>) -> Arc<dyn Source> {
        match &self.plan {
            Some(plan) => Arc::new(FaultySource::new(source, Arc::clone(plan))),
            None => source,
        }
    }

    /// Says on stderr how many effects there were, and writes their names to `HIGHWATER_FAULT_LOG`.
    pub fn report(&self, terminal: &Terminal) -> Result<(), Failure> {
        let Some(plan) = &self.plan else { return Ok(()) };
        terminal.note(&format!("effects: {}", plan.count()));
        if let Some(path) = &self.log {
            let text: String = plan.log().iter().map(|name| format!("{name}\n")).collect();
            std::fs::write(path, text)
                .map_err(|error| Failure::new(Exit::Failed, format!("write `{}`: {error}", path.display())))?;
        }
        Ok(())
    }
}

#[cfg(not(debug_assertions))]
impl Faults {
    pub fn read(_environment: &Environment) -> Result<Self, Failure> {
        Ok(Faults::default())
    }

    pub fn in_state(&self, state: Arc<dyn State>) -> Arc<dyn State> {
        state
    }

    pub fn in_store(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        store
    }

    pub fn in_source(&self, source: Arc<dyn Source>) -> Arc<dyn Source> {
        source
    }

    pub fn report(&self, _terminal: &Terminal) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    fn read(fault: Option<&str>, mutant: Option<&str>) -> Result<Faults, Failure> {
        let environment =
            Environment { fault: fault.map(str::to_owned), mutant: mutant.map(str::to_owned), ..Environment::default() };
        Faults::read(&environment)
    }

    #[test]
    fn without_being_asked_every_guard_is_on_and_nothing_fails() {
        let faults = read(None, None).map_err(|failure| failure.message).expect("none");
        assert!(faults.plan.is_none());
        assert_eq!(faults.guards, Guards::ALL);
    }

    #[test]
    fn every_guard_can_be_switched_off_by_its_name() {
        // D-44
        for name in Guards::NAMES {
            let faults = read(None, Some(name)).map_err(|failure| failure.message).expect("a mutant");
            assert_eq!(Some(faults.guards), Guards::without(name));
            assert_ne!(faults.guards, Guards::ALL, "{name}");
        }
    }

    #[test]
    fn a_mutant_loses_one_guard() {
        let faults = read(Some("count"), Some("record_coverage")).map_err(|failure| failure.message).expect("mutant");
        assert!(faults.plan.is_some());
        assert_eq!(faults.guards, Guards { record_coverage: false, ..Guards::ALL });
    }

    #[test]
    fn what_cannot_be_read_is_a_wrong_usage() {
        for (fault, mutant) in [(Some("kill"), None), (Some("kill-before:0"), None), (None, Some("everything"))] {
            assert_eq!(read(fault, mutant).map(|_| ()).expect_err("refused").exit, Exit::Usage);
        }
    }
}
