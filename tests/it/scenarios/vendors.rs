//! Every stream of every definition that ships, read from a fake of its vendor: a kill in the
//! middle, the first load, nothing new, news, faults, a bad secret; and what the definition's rules make of the vendor's errors.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rust_text::{read, root};
use crate::world::Deadline;
use crate::world::api::Record;
use crate::world::oracle::Oracle;
use crate::world::program::{Call, Ended, command, highwater};
use crate::world::project::Project;
use crate::world::skip;
use crate::world::vendor::{Canned, Fault, Row, Vendor, get, put};

/// Remarks of `check` that a definition cannot avoid: where, what, and why it may stand.
const REMARKS: &[(&str, &str)] = &[];

/// Words by which a file says that nobody saw a behaviour on the vendor's page.
const DOUBTS: &[&str] = &["not checked", "not on the page", "not verified", "not documented", "nobody"];

/// What ends a run and comes back by itself.
const TRY_LATER: i32 = 75;

/// Records in each stream at first, and later more; what one page holds at most, so that a few records are several pages.
const RECORDS: usize = 130;
const MORE: usize = 20;
const PAGE: usize = 40;

#[test]
fn every_stream_that_ships_is_read_whole_from_a_fake_of_its_vendor() {
    // Most of a walk is waiting for what vendors ask for: all of them wait at the same time.
    let remarks: BTreeSet<_> = of_each(|name| Walk::start(name).whole()).into_iter().flatten().collect();
    let idle: Vec<_> = REMARKS.iter().filter(|remark| !remarks.contains(*remark)).collect();
    assert!(idle.is_empty(), "`check` does not say these any more: take them out of REMARKS: {idle:?}");
}

#[test]
fn each_rule_for_errors_that_ships_does_what_it_says_to_an_answer_that_its_vendor_documents() {
    of_each(|name| Walk::start(name).told());
}

/// Has each vendor do something, all at the same time.
fn of_each<T: Send + 'static>(act: impl Fn(&str) -> T + Clone + Send + 'static) -> Vec<T> {
    let names = toml_files("sources");
    assert_eq!(names, toml_files("tests/it/vendors"), "each definition has a fake");
    let start = |name: String| {
        let act = act.clone();
        (name.clone(), std::thread::spawn(move || act(&name)))
    };
    let threads: Vec<_> = names.into_iter().map(start).collect();
    let (mut failed, mut done) = (Vec::new(), Vec::new());
    for (name, thread) in threads {
        match thread.join() {
            Ok(value) => done.push(value),
            Err(panic) => {
                let text =
                    panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                failed.push(format!("{name}: {}", text.unwrap_or_default()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    done
}

#[test]
fn what_is_throttled_in_a_status_of_success_is_waited_for_and_then_read_whole() {
    //
    let mut walk = Walk::start("shopify");
    for stream in walk.jobs.keys() {
        walk.vendor.fail(stream, &[Fault::Throttled; 3]);
    }
    // The query asks for 302 points, 200 are there, and 100 come each second: three times in turn.
    let at_least = Deadline::after(Duration::from_millis(3 * 1020));
    let kept = walk.run();
    assert!(at_least.passed(), "it was not waited for the points");
    walk.look();
    assert_eq!(kept, walk.counts(|stream| walk.seen[stream].len()));
    let throttled = walk.vendor.asked().len();
    assert!(throttled >= 4 * walk.jobs.len(), "{throttled} requests");
    walk.compare("throttled");
}

#[test]
fn what_is_more_than_a_vendor_gives_for_one_query_is_read_in_pieces() {
    // C-53, C-54: 39 records a day. Where days are all that a filter tells apart, three are the least that can be asked for.
    for (name, cap, too_much) in [
        ("shopify", 120, None),
        ("shopify", 60, Some("customers")),
        ("hubspot", 60, None),
        ("github_graphql", 60, None),
        ("github", 60, None),
    ] {
        let mut walk = Walk::start(name);
        walk.cap(cap);
        let ended = walk.call(&["run", "--json"]).run();
        assert_eq!(ended.code, Some(if too_much.is_some() { 1 } else { 0 }), "{name}, {cap}: {}", ended.stderr);
        walk.look();
        if let Some(stream) = too_much {
            let reports = ended.json();
            let failed: Vec<_> = reports.as_array().unwrap().iter().filter(|report| report["status"] == "failed").collect();
            assert!(failed.len() == 1 && failed[0]["job"] == stream, "{reports}");
            let reason = failed[0]["failed"][0]["reason"].as_str().unwrap();
            assert!(reason.contains("at most 60 records") && reason.contains("`precision` (24h)"), "{reason}");
            walk.jobs.remove(stream);
        }
        walk.compare(&format!("at most {cap} for one query"));
    }
}

/// The names of a folder's TOML files, in order.
fn toml_files(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = files.filter_map(|file| file.strip_suffix(".toml").map(str::to_owned)).collect();
    names.sort();
    names
}

/// A definition, its vendor's fake, and a project with one job a stream, called as the stream is.
struct Walk {
    name: String,
    vendor: Vendor,
    project: Project,
    env: BTreeMap<String, String>,
    jobs: BTreeMap<String, toml::Table>,
    definition: toml::Table,
    /// The records of each stream as a table that marks deleted rows has them, by number.
    seen: BTreeMap<String, BTreeMap<usize, Row>>,
}

impl Walk {
    fn start(name: &str) -> Self {
        let vendor = Vendor::start(name, RECORDS, PAGE);
        let env = vendor.env();
        let mut definition: toml::Table = read(&format!("sources/{name}.toml")).parse().unwrap();
        let streams: Vec<String> = table(&definition, "streams").keys().cloned().collect();
        assert_eq!(streams, vendor.streams(), "each stream is played");
        let is_experimental = definition.get("experimental").and_then(toml::Value::as_bool).unwrap_or(false);
        let doubts = doubts(name, &vendor);
        assert_eq!(
            is_experimental,
            !doubts.is_empty(),
            "experimental = true where, and only where, something has no ground: {doubts:?}"
        );
        make_local(&mut definition, &vendor.url());
        let project = Project::new();
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        project.write(&format!("sources/{name}.toml"), &definition.to_string());
        let jobs: BTreeMap<String, toml::Table> = table(&definition, "streams")
            .iter()
            .map(|(stream, about)| (stream.clone(), job(name, &definition, stream, about.as_table().unwrap())))
            .collect();
        for (stream, job) in &jobs {
            project.write(&format!("jobs/{stream}.toml"), &job.to_string());
        }
        Walk { name: name.to_owned(), vendor, project, env, jobs, definition, seen: BTreeMap::new() }
    }

    /// The whole walk; which of the permitted remarks `check` made.
    fn whole(mut self) -> BTreeSet<(&'static str, &'static str)> {
        let remarks = self.check();
        let plans = self.call(&["plan", "--json"]).run().expect_code(0).json();
        assert_eq!(plans.as_array().unwrap().len(), self.jobs.len(), "{plans}");

        self.killed_in_the_middle();
        self.fail_each(Fault::Throttled);
        let kept = self.run();
        self.look();
        let all = self.counts(|stream| self.seen[stream].len());
        let paged = self.vendor.paged();
        // What is one page may have been there before the kill.
        let is_whole = |stream: &String| kept[stream] == all[stream] || (kept[stream] == 0 && !paged.contains(stream));
        assert!(self.jobs.keys().all(is_whole), "the first load kept {kept:?} of {all:?}");
        let asked = self.vendor.asked();
        let wrong: Vec<_> = asked.iter().filter(|(stream, _)| stream.is_empty()).collect();
        assert!(wrong.is_empty(), "requests that no page of the vendor's describes: {wrong:?}");
        self.compare("the first load");

        // What the killed run had staged goes once its number is decided for others, or, where it had not noted it yet, with `gc`.
        let lake = || {
            let mut lake = self.project.listing("lake");
            lake.retain(|path, _| !path.contains("/staging/"));
            lake
        };
        let before = lake();
        assert_eq!(self.run(), self.counts(|_| 0), "nothing is new");
        assert_eq!(lake(), before, "a run without news wrote");

        let news = self.go_on();
        self.fail_each(Fault::Failed);
        assert_eq!(self.run(), news, "new and changed records, after an error of the vendor's");
        self.compare("the second load");

        let news = self.go_on();
        self.locked_out();
        self.fail_each(Fault::Cut);
        assert_eq!(self.run(), news, "let in again, and a body cut off");
        self.compare("the third load");
        self.spent();
        remarks
    }

    /// Every stream's first answer goes wrong in this way.
    fn fail_each(&self, fault: Fault) {
        for stream in self.jobs.keys() {
            self.vendor.fail(stream, &[fault]);
        }
    }

    /// A run that is killed when it has had two answers for each stream.
    fn killed_in_the_middle(&self) {
        self.vendor.hold_after(2);
        let mut run = command(&self.project, &["run"]);
        let mut run = run.envs(&self.env).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Deadline::after(Duration::from_secs(60));
        while !self.vendor.waited_for().is_superset(&self.vendor.paged()) {
            assert!(!deadline.passed(), "nothing is asked for but {:?}", self.vendor.waited_for());
            assert_eq!(run.try_wait().unwrap(), None, "the run ended before it was killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        run.kill().unwrap();
        run.wait().unwrap();
        self.vendor.let_go();
        self.vendor.asked();
    }

    /// A day's allowance that is spent ends the runs at once, and they say that they will go on.
    fn spent(&mut self) {
        if !self.vendor.can_be_spent() {
            return;
        }
        let lake = self.project.listing("lake");
        self.go_on();
        self.fail_each(Fault::Spent);
        self.call(&["run"]).run().expect_code(TRY_LATER);
        assert_eq!(self.project.listing("lake"), lake, "a run without an allowance wrote");
    }

    /// Each of the definition's `[[errors]]` meets an answer that it is for.
    fn told(self) {
        let mut idle: BTreeSet<String> = rules(&self.definition, None).map(|(place, _)| place).collect();
        for stream in self.jobs.keys() {
            idle.extend(rules(&self.definition, Some(stream)).map(|(place, _)| place));
        }
        for (number, (stream, answer)) in self.vendor.answers().iter().enumerate() {
            let own = rules(&self.definition, Some(stream)).chain(rules(&self.definition, None));
            let held = own.into_iter().find(|(_, rule)| holds(rule, answer));
            let (place, rule) = held.unwrap_or_else(|| panic!("no rule is for answers[{number}] to {stream}"));
            idle.remove(&place);
            self.vendor.fail(stream, &[Fault::Told(number)]);
            let ended = self.call(&["run", stream, "--full", "--yes"]).run();
            let said = format!("{place}, answers[{number}] to {stream}:\n{}", ended.stderr);
            assert_eq!(self.vendor.unharmed(), Vec::<String>::new(), "{said}");
            let message = rule.get("message").and_then(toml::Value::as_str);
            match rule["then"].as_str().unwrap() {
                "retry" | "wait" | "skip" => assert_eq!(ended.code, Some(0), "{said}"),
                then => {
                    assert!(![Some(0), None].contains(&ended.code), "{said}");
                    assert!(message.is_some_and(|message| ended.stderr.contains(message)), "{said}");
                    let secret = self.secret();
                    assert!(then != "refresh" || secret.is_some_and(|name| ended.stderr.contains(&name)), "{said}");
                }
            }
        }
        assert!(idle.is_empty(), "no answer of the vendor's shows what these are for: {idle:?}");
    }

    /// The secret that is to be renewed, as messages name it.
    fn secret(&self) -> Option<String> {
        let auth = self.definition.get("auth")?;
        let secret = ["token", "value", "password", "client_secret"].iter().find_map(|key| auth.get(key)?.get("env")?.as_str());
        Some(format!("`env {}`", secret.expect("the secret comes from the environment")))
    }

    /// The vendor gives no more than so many records for one query, and the definition says so.
    fn cap(&mut self, records: usize) {
        self.vendor.lower_caps(records);
        for (_, stream) in self.definition["streams"].as_table_mut().unwrap().iter_mut() {
            if let Some(cap) = stream.get_mut("paging").and_then(|paging| paging.get_mut("result_cap")) {
                *cap = i64::try_from(records).unwrap().into();
            }
        }
        self.project.write(&format!("sources/{}.toml", self.name), &self.definition.to_string());
    }

    fn call(&self, args: &[&str]) -> Call {
        self.env.iter().fold(highwater(&self.project, args), |call, (name, value)| call.env(name, value))
    }

    fn check(&self) -> BTreeSet<(&'static str, &'static str)> {
        let told = self.call(&["check", "--json"]).run().expect_code(0).json();
        let mut seen = BTreeSet::new();
        for problem in told["problems"].as_array().unwrap() {
            let place = format!("{}: {}", problem["file"].as_str().unwrap(), problem["key"].as_str().unwrap());
            let message = problem["message"].as_str().unwrap();
            let remark = REMARKS.iter().find(|(at, said)| place.starts_with(at) && message.contains(said));
            seen.insert(*remark.unwrap_or_else(|| panic!("check says: {problem}")));
        }
        seen
    }

    /// Runs all jobs to their good end, whatever was to go wrong on the way; how many records each kept.
    fn run(&self) -> BTreeMap<String, u64> {
        let ended = self.call(&["run", "--json"]).run();
        assert_eq!(self.vendor.unharmed(), Vec::<String>::new(), "these were asked for nothing");
        if ended.code != Some(0) {
            let Ended { code, stdout, stderr, .. } = &ended;
            panic!("run ended with {code:?}, answers were {:?}\n{stdout}\n{stderr}", self.vendor.asked());
        }
        let reports = ended.json();
        let kept = |report: &Value| (report["job"].as_str().unwrap().to_owned(), report["counts"]["kept"].as_u64().unwrap());
        reports.as_array().unwrap().iter().map(kept).collect()
    }

    fn stream(&self, name: &str) -> &toml::Table {
        table(&self.definition, "streams")[name].as_table().unwrap()
    }

    fn counts(&self, count: impl Fn(&str) -> usize) -> BTreeMap<String, u64> {
        self.jobs.keys().map(|stream| (stream.clone(), count(stream) as u64)).collect()
    }

    /// The vendor's time goes on; how many records of each stream the next run must bring.
    fn go_on(&mut self) -> BTreeMap<String, u64> {
        let before = self.seen.clone();
        self.vendor.go_on(MORE);
        self.look();
        let is_news =
            |stream: &str, number: &usize, row: &Row| before[stream].get(number).is_none_or(|old| old.value != row.value);
        self.counts(|stream| self.seen[stream].iter().filter(|(number, row)| is_news(stream, number, row)).count())
    }

    /// Takes note of what a run must have seen: a deleted record stays as it last was, and is not there if it never was.
    fn look(&mut self) {
        for name in self.jobs.keys() {
            let deleted = self.stream(name).get("deleted").map(|field| field.as_str().unwrap().to_owned());
            let is = self.stream(name).get("deleted_is").and_then(toml::Value::as_array).cloned();
            let is_there = |row: &Row| {
                let said = deleted.as_ref().and_then(|field| get(&row.value, field));
                match &is {
                    Some(is) => said.is_none_or(|said| !is.iter().any(|value| value.as_str() == said.as_str())),
                    None => said.is_none_or(|said| [Value::Null, json!(false), json!(0)].contains(said)),
                }
            };
            let rows = self.vendor.truth(name).into_iter().enumerate().filter(|(_, row)| is_there(row));
            self.seen.entry(name.clone()).or_default().extend(rows);
        }
    }

    /// The lake is what the vendor has.
    fn compare(&self, when: &str) {
        let Some(mut oracle) = Oracle::new() else {
            return skip("every_stream_that_ships", "the independent readers are not installed");
        };
        for (name, job) in &self.jobs {
            let stream = self.stream(name);
            let carry = stream.get("parent").and_then(|parent| parent.get("carry")).and_then(toml::Value::as_table);
            let truth: Vec<Record> = self.seen[name].values().map(|row| record(row, carry)).collect();
            let place = format!("lake/{}", job.get("table").map_or(name.as_str(), |table| table.as_str().unwrap()));
            let case = oracle.expect(&format!("{} {name}, {when}", self.name), &self.project.at(&place), &truth);
            case["key"] = json!(stream["primary_key"]);
            if let Some(cursor) = stream.get("cursor").filter(|cursor| cursor["type"].as_str().unwrap().starts_with("epoch")) {
                case["declared"] = json!({ cursor["field"].as_str().unwrap(): cursor["type"] });
            }
            // What the job's own steps make of the values is the business of other tests.
            case["keys_only"] = json!(job.contains_key("steps") || job.contains_key("columns"));
        }
        oracle.check();
    }

    /// A secret that the vendor does not take stops every job, which names it.
    fn locked_out(&self) {
        let Some(secret) = self.secret() else { return };
        let wrong = self.env.keys().fold(highwater(&self.project, &["run"]), |call, name| call.env(name, "wrong"));
        let ended = wrong.run();
        assert_ne!(ended.code, Some(0), "{}", ended.stderr);
        for stream in self.jobs.keys() {
            let error = ended.stderr.lines().find(|line| line.starts_with(&format!("error: {stream}: ")));
            let error = error.unwrap_or_else(|| panic!("{stream} does not end in an error:\n{}", ended.stderr));
            assert!(error.contains(&secret), "{error}");
        }
    }
}

/// What is played or written down without ground: parts of the fake, and remarks in either file.
fn doubts(name: &str, vendor: &Vendor) -> Vec<String> {
    let mut doubts = vendor.without_ground();
    for folder in ["sources", "tests/it/vendors"] {
        let file = format!("{folder}/{name}.toml");
        let text = read(&file);
        let comments = text.lines().filter_map(|line| line.split_once('#').map(|(_, comment)| comment.to_lowercase()));
        let doubtful = comments.filter(|comment| DOUBTS.iter().any(|doubt| comment.contains(doubt)));
        doubts.extend(doubtful.map(|comment| format!("{file}:{comment}")));
    }
    doubts
}

/// The rules of a stream or of the source itself, each with its place.
fn rules<'a>(definition: &'a toml::Table, stream: Option<&str>) -> impl Iterator<Item = (String, &'a toml::Table)> {
    let (of, owner) = match stream {
        Some(name) => (table(definition, "streams")[name].as_table().unwrap(), format!("streams.{name}")),
        None => (definition, "source".to_owned()),
    };
    let rules = of.get("errors").and_then(toml::Value::as_array).into_iter().flatten().enumerate();
    rules.map(move |(number, rule)| (format!("{owner}.errors[{number}]"), rule.as_table().unwrap()))
}

/// Whether a rule is for an answer, as docs/sources.md has it.
fn holds(rule: &toml::Table, answer: &Canned) -> bool {
    let texts = |key: &str| rule.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let status = texts("status");
    let has_status = status.is_empty() || status.iter().any(|status| status.as_integer() == Some(answer.status.into()));
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let found = match rule.get("at").map(|at| at.as_str().unwrap()) {
        None => Some(answer.body.clone()),
        Some(at) => match at.strip_prefix("header.") {
            Some(name) => {
                answer.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
            }
            None => get(&body, at).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        },
    };
    let is = texts("is");
    let fits = |found: &String| match rule.get("contains") {
        Some(wanted) => found.to_lowercase().contains(&wanted.as_str().unwrap().to_lowercase()),
        None => is.is_empty() || is.iter().any(|word| word.as_str() == Some(found)),
    };
    has_status && found.as_ref().is_some_and(fits)
}

fn record(row: &Row, carry: Option<&toml::Table>) -> Record {
    let mut value = row.value.clone();
    for (name, path) in carry.into_iter().flatten() {
        put(&mut value, name, get(row.under.as_ref().unwrap(), path.as_str().unwrap()).unwrap().clone());
    }
    Record { json: value.to_string(), cursor: row.at }
}

fn table<'a>(of: &'a toml::Table, key: &str) -> &'a toml::Table {
    of[key].as_table().unwrap()
}

/// What only the vendor's own host and its patience need: the address, and figures that would make a walk last for hours.
fn make_local(definition: &mut toml::Table, url: &str) {
    let (host_here, port) = url.trim_start_matches("http://").split_once(':').unwrap();
    let local = |address: &str| {
        let (_, behind) = address.split_once("://").unwrap();
        let (host, path) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        // A host that jobs fill in stays one.
        let host = host_parameter(host).map_or_else(|| host_here.to_owned(), |name| format!("{{{{ {name} }}}}"));
        format!("http://{host}:{port}{path}")
    };
    let base = local(definition["base_url"].as_str().unwrap());
    if host_parameter(&base).is_some() {
        definition.insert("allow_private".to_owned(), true.into());
    }
    definition.insert("base_url".to_owned(), base.into());
    for key in ["token_url"] {
        if let Some(address) = definition.get_mut("auth").and_then(|auth| auth.get_mut(key)) {
            *address = local(address.as_str().unwrap()).into();
        }
    }
    for (_, stream) in definition["streams"].as_table_mut().unwrap().iter_mut() {
        if let Some(poll) = stream.get_mut("export").and_then(|export| export.get_mut("poll")) {
            poll.as_table_mut().unwrap().insert("every".to_owned(), "20ms".into());
        }
    }
    if let Some(limits) = definition.get_mut("limits").and_then(toml::Value::as_table_mut) {
        raise(limits);
        // A stream that is kept waiting must not stand in another's way.
        limits.insert("concurrency".to_owned(), 64.into());
        // And after a refusal nobody is to find out slowly what nobody declares.
        limits.entry("requests").or_insert(vec!["1000000/s"].into());
        for group in limits.get_mut("groups").and_then(toml::Value::as_table_mut).into_iter().flatten() {
            raise(group.1.as_table_mut().unwrap());
        }
    }
    for rule in definition.get_mut("errors").and_then(toml::Value::as_array_mut).into_iter().flatten() {
        if let Some(wait) = rule.get_mut("wait") {
            *wait = "1s".into();
        }
    }
}

/// The parameter in the host of an address.
fn host_parameter(address: &str) -> Option<&str> {
    address.split_once("{{ ")?.1.split_once(" }}").map(|(name, _)| name)
}

fn raise(limits: &mut toml::Table) {
    for key in ["requests", "points"] {
        for rate in limits.get_mut(key).and_then(toml::Value::as_array_mut).into_iter().flatten() {
            let (_, per) = rate.as_str().unwrap().split_once('/').unwrap();
            *rate = format!("1000000/{per}").into();
        }
    }
}

/// The job that ships for a stream, or a plain merge; it begins near the records, and what must be filled in is.
fn job(source: &str, definition: &toml::Table, name: &str, stream: &toml::Table) -> toml::Table {
    let plain = || {
        format!("version = 1\nsource = \"{source}\"\nstream = \"{name}\"\nsink = \"lake\"\nmode = \"merge\"\n").parse().unwrap()
    };
    let shipped = toml_files("jobs").into_iter().map(|file| read(&format!("jobs/{file}.toml")).parse::<toml::Table>().unwrap());
    let is_it = |job: &toml::Table| job["source"].as_str() == Some(source) && job["stream"].as_str() == Some(name);
    let mut job = shipped.into_iter().find(is_it).unwrap_or_else(plain);
    job.insert("enabled".to_owned(), true.into());
    job.remove("schedule");
    if let Some(sets) = job.remove("for_each") {
        job.insert("parameters".to_owned(), sets[0].clone());
    }
    let mut parameters = job.get("parameters").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    for (parameter, about) in definition.get("parameters").and_then(toml::Value::as_table).into_iter().flatten() {
        if about.get("required").and_then(toml::Value::as_bool) == Some(true) && !parameters.contains_key(parameter) {
            parameters.insert(parameter.clone(), "any".into());
        }
    }
    if let Some(name) = host_parameter(definition["base_url"].as_str().unwrap()) {
        parameters.insert(name.to_owned(), "127.0.0.1".into());
    }
    job.insert("parameters".to_owned(), parameters.into());
    let is_in_time = stream.get("cursor").is_some_and(|cursor| cursor["type"].as_str() != Some("token"));
    if is_in_time {
        let mut window = job.get("window").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        window.insert("start".to_owned(), "2026-01-01".into());
        if stream.iter().any(|(_, value)| value.to_string().contains("{{ to ")) {
            window.insert("step".to_owned(), "3d".into());
        }
        job.insert("window".to_owned(), window.into());
    } else {
        job.remove("window");
    }
    job
}
