//! A limit as answers tell of it.
//!
//! Where its length is known, it is counted like a declared one, and what is told to be left only shows what others spend of it.
//! Where only what is left and the time of the reset are told, these govern; the longest time to a reset that was ever told is
//! taken for the window's length, and believed once our own count over that length explains what is told.

use std::collections::BTreeSet;
use std::time::Duration;

use super::meter::{Full, Meter};
use super::told::{ToldLimit, ToldShape};

/// Resets are told in whole seconds, and clocks differ: this part of the time to a reset is waited on top, within bounds.
const SLACK_PART: u32 = 10;
const SLACK_LEAST: Duration = Duration::from_millis(50);
const SLACK_MOST: Duration = Duration::from_secs(1);
/// How long nothing is sent where nothing is left and no reset is told.
const BLIND: Duration = Duration::from_secs(1);
/// So many answers in a row must be explained by our own count before a guessed length is believed.
const BELIEVED: u32 = 8;
/// What our own count may lack of what is told, as a part of the limit, and still explain it: two windows are never cut alike.
const SLIP_PART: u64 = 50;
/// Windows up to this length are spent evenly.
pub(super) const EVEN_MAX: Duration = Duration::from_secs(60);
/// Endpoints that are remembered; beyond, a limit counts for all.
const ENDPOINTS_MAX: usize = 256;

#[derive(Clone)]
pub(super) struct Learnt {
    size: Option<u64>,
    left: Option<u64>,
    shape: Shape,
    /// When `left` was told; what was sent since is not in it.
    told_at: Duration,
    /// The request whose answer told it.
    number: u64,
    /// Which endpoints' answers told of it.
    endpoints: BTreeSet<String>,
    burst: f64,
}

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "an account has a few of them, nearly all of the large kind")]
enum Shape {
    Window {
        /// Told, or else the longest time to a reset.
        per: Option<Duration>,
        told: bool,
        /// Answers in a row that our own count explains.
        explained: u32,
        reset: Option<Duration>,
        meter: Option<Meter>,
    },
    /// `left` grows again by so much a second, up to `size`.
    Bucket { per_second: f64, points: bool },
}

/// What a request costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub points: u64,
}

impl Learnt {
    /// A limit that nothing is known of yet.
    pub(super) fn new(told: &ToldLimit, burst: f64) -> Self {
        let shape = match told.shape {
            ToldShape::Bucket { per_second } => Shape::Bucket { per_second, points: false },
            ToldShape::Points { per_second } => Shape::Bucket { per_second, points: true },
            ToldShape::Window { .. } | ToldShape::Concurrency => {
                Shape::Window { per: None, told: false, explained: 0, reset: None, meter: None }
            }
        };
        Learnt { size: None, left: None, shape, told_at: Duration::ZERO, number: 0, endpoints: BTreeSet::new(), burst }
    }

    /// Takes in what the answer to request `number` told. `flying` is what is under way besides, and may not be in it.
    pub(super) fn learn(&mut self, told: &ToldLimit, number: u64, endpoint: &str, now: Duration, flying: u64) {
        if self.endpoints.len() < ENDPOINTS_MAX {
            self.endpoints.insert(endpoint.to_owned());
        }
        // An answer that was overtaken knows less.
        if number < self.number {
            return;
        }
        self.number = number;
        self.size = told.size.or(self.size);
        match (&mut self.shape, told.shape) {
            (
                Shape::Bucket { per_second, .. },
                ToldShape::Bucket { per_second: news } | ToldShape::Points { per_second: news },
            ) => {
                *per_second = news;
                self.left = told.left.map(|left| left.saturating_sub(flying));
                self.told_at = now;
            }
            (Shape::Window { .. }, ToldShape::Window { per, reset }) => self.learn_window(told.left, per, reset, now, flying),
            _ => {}
        }
    }

    fn learn_window(
        &mut self,
        told_left: Option<u64>,
        told_per: Option<Duration>,
        told_reset: Option<Duration>,
        now: Duration,
        flying: u64,
    ) {
        let Shape::Window { per, told, explained, reset, meter } = &mut self.shape else { return };
        *told = told_per.is_some();
        let longest = match told_per {
            Some(exact) => Some(exact),
            None => (*per).max(told_reset.map(|reset| Duration::from_secs(reset.as_secs_f64().ceil() as u64))),
        };
        let longest = longest.filter(|length| !length.is_zero());
        if let (Some(size), Some(length)) = (self.size, longest)
            && meter.as_ref().is_none_or(|meter| meter.limit() != size || meter.per() != length)
        {
            let burst = (length <= EVEN_MAX).then_some(self.burst);
            let mut anew = Meter::new(size, length, burst);
            match meter {
                Some(before) => anew.take_over(before),
                // What is under way was sent against none.
                None => anew.count(now, flying + 1),
            }
            *meter = Some(anew);
        }
        *per = longest;
        let slack = |length: Duration| (length / SLACK_PART).clamp(SLACK_LEAST, SLACK_MOST);
        *reset = told_reset.map(|length| now + length + slack(length));
        if let (Some(left), Some(meter), Some(size)) = (told_left, meter.as_mut(), self.size) {
            let ours = meter.used(now);
            // Somebody else spends of it too, or their window is not where ours is.
            let others = size.saturating_sub(left.saturating_add(ours));
            if others > 0 {
                // They count no longer than the window does, where its end is told.
                let whole = now + meter.per() + meter.margin();
                meter.count_until(reset.map_or(whole, |reset| reset.min(whole)), others);
            }
            *explained = if others > size / SLIP_PART { 0 } else { explained.saturating_add(1) };
        }
        self.left = told_left.map(|left| left.saturating_sub(flying));
        self.told_at = now;
    }

    /// Whether an endpoint's requests count against it: as far as is known.
    pub(super) fn binds(&self, endpoint: &str, known: bool) -> bool {
        !known || self.endpoints.contains(endpoint) || self.endpoints.len() >= ENDPOINTS_MAX
    }

    /// Whether what an endpoint's answer tells under this name is another limit: of another size, and told by others alone so far.
    pub(super) fn is_of_others(&self, told: &ToldLimit, endpoint: &str) -> bool {
        let differs = self.size.is_some() && told.size.is_some() && self.size != told.size;
        differs && !self.endpoints.contains(endpoint)
    }

    pub(super) fn counts_points(&self) -> bool {
        matches!(self.shape, Shape::Bucket { points: true, .. })
    }

    /// Size and length of a window whose length is told.
    pub(super) fn window(&self) -> Option<(u64, Duration)> {
        match &self.shape {
            Shape::Window { per: Some(per), told: true, .. } => self.size.map(|size| (size, *per)),
            _ => None,
        }
    }

    /// Whether there is room for a request, `kept` (in `[0, 1)`) of the whole being kept for others.
    pub(super) fn room(&mut self, now: Duration, cost: Cost, kept: f64) -> Result<(), Full> {
        let keep = |size: u64| (size as f64 * kept) as u64;
        let size = self.size;
        let bucket = self.available(now);
        match &mut self.shape {
            Shape::Bucket { per_second, points } => {
                let (Some(available), Some(size)) = (bucket, size) else { return Ok(()) };
                // What costs more than the bucket holds may go once it is full: the API says what it thinks of it.
                let needed = ((if *points { cost.points } else { 1 }) + keep(size)).min(size) as f64;
                if available >= needed {
                    return Ok(());
                }
                let wait = (needed - available) / per_second.max(1e-6);
                Err(Full::Until(now + Duration::from_secs_f64(wait.clamp(0.001, 86_400.0))))
            }
            Shape::Window { per, told, explained, reset, meter } => {
                if let Some(meter) = meter.as_mut().filter(|_| *told || *explained >= BELIEVED) {
                    return meter.room(now, 1, keep(meter.limit()));
                }
                let Some(left) = self.left else { return Ok(()) };
                let over = reset.unwrap_or(self.told_at + per.unwrap_or(BLIND));
                if now >= over {
                    // A new window, of which nothing was told yet.
                    self.left = size;
                    self.told_at = now;
                    *reset = per.map(|per| now + per);
                    return Ok(());
                }
                if left > size.map_or(0, keep) { Ok(()) } else { Err(Full::Until(over)) }
            }
        }
    }

    fn available(&self, now: Duration) -> Option<f64> {
        let Shape::Bucket { per_second, .. } = &self.shape else { return None };
        let since = now.saturating_sub(self.told_at).as_secs_f64();
        Some((self.left? as f64 + per_second * since).min(self.size.unwrap_or(u64::MAX) as f64))
    }

    pub(super) fn send(&mut self, now: Duration, cost: Cost) {
        if let Some(available) = self.available(now) {
            let Shape::Bucket { points, .. } = self.shape else { return };
            let cost = if points { cost.points } else { 1 };
            // Whole numbers lose what is less than one, which is nobody's loss but ours.
            let left = (available - cost as f64).max(0.0);
            self.told_at = now.saturating_sub(self.fill_time(left.fract()));
            self.left = Some(left as u64);
            return;
        }
        if let Shape::Window { meter: Some(meter), .. } = &mut self.shape {
            meter.send(now, 1);
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
    }

    fn fill_time(&self, amount: f64) -> Duration {
        match self.shape {
            Shape::Bucket { per_second, .. } if per_second > 1e-6 => Duration::from_secs_f64((amount / per_second).min(3600.0)),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn land(&mut self, latest: Duration) {
        if let Shape::Window { meter: Some(meter), .. } = &mut self.shape
            && meter.flying() > 0
        {
            meter.land(latest, 1);
        }
    }

    pub(super) fn cancel(&mut self) {
        if let Shape::Window { meter: Some(meter), .. } = &mut self.shape {
            meter.cancel(1);
        }
    }

    /// Size, what is left, the window's length, and when it begins anew, for whoever shows it.
    pub(super) fn view(&self, now: Duration) -> (Option<u64>, Option<u64>, Option<Duration>, Option<Duration>) {
        match &self.shape {
            Shape::Bucket { .. } => (self.size, self.available(now).map(|left| left as u64), None, None),
            Shape::Window { per, reset, meter, .. } => {
                let ours = meter.as_ref().map(|meter| meter.limit().saturating_sub(meter.used_at(now)));
                let left = match (self.left, ours) {
                    (Some(left), Some(ours)) => Some(left.min(ours)),
                    (left, ours) => left.or(ours),
                };
                (self.size, left, *per, reset.filter(|reset| *reset > now).map(|reset| reset - now))
            }
        }
    }
}
