//! Learns from refusals at a legal pace: sends and refusals come in; the share of the quota that is left to us goes out. Pure.
//!
//! A vendor refuses where somebody else uses the account too, where its real limit is lower than the documented one, or by mistake.
//! What was accepted in the last window before it refused tells them apart. Where much of that window was refused, or where the
//! vendor refuses again and again after about as many requests, so many are what is left: the pace goes there at once. A refusal
//! after a long good time is at most a sign that the limit is near: the pace goes down by a little. From there it comes back much
//! as CUBIC does (RFC 9438): it stays just below the limit that was found, passes it slowly, and leaves it behind fast.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The lowest share.
pub const SHARE_MIN: f64 = 0.05;
/// After a limit is found, the pace goes to this part of it,
const BELOW: f64 = 0.97;
/// and to this part of a proved limit that is met again, since what is left varies.
const BELOW_KNOWN: f64 = 0.96;
/// When a proved limit is met again, it goes down to this part of it at most.
const LEAST_STEP: f64 = 0.9;
/// A refusal at this part of the last limit, or above it, is about that limit.
const AT_LIMIT: f64 = 0.98;
/// How long the pace stays below a limit that was met for the first time: it may have been chance.
const HOLD: Duration = Duration::from_secs(4);
/// Each time the limit is met again soon, the pace stays below it twice as long, up to this.
const HOLD_LONGEST: Duration = Duration::from_secs(22);
/// A limit that is met again within this time is the same limit.
const SOON: Duration = Duration::from_secs(60);
/// A rate this near to a limit is about that limit.
const SAME: f64 = 0.1;
/// A rate this near to a proved limit is that limit, moved.
const MOVED: f64 = 0.25;
/// If a request is refused while the pace stays below a proved limit, the pace goes down by the first part, but not below the second part of
/// the limit: what others use varies.
const TIGHTER: (f64, f64) = (0.97, 0.9);
/// After that the pace takes this many seconds to go back to the limit,
const BACK: f64 = 1.5;
/// then grows by this much a second,
const BEYOND: f64 = 0.005;
/// and by the cube of the seconds times this: the whole of a quota in 6 s.
const GROWTH: f64 = 4e-3;
/// A window has at least this length,
const SHORTEST: f64 = 1.0;
/// and is long enough for this many requests: fewer tell nothing.
const TELLING: f64 = 20.0;
/// No window is longer, in seconds.
const LONGEST: f64 = 30.0;
/// Below this many requests a second all times are stretched.
const SLOW: f64 = 2.0;
/// After this many windows without a refusal the pace counts as good for long.
const LONG: u32 = 3;
/// A window was refused much if one in this many of its requests was refused, and at least this many,
const MUCH: (u32, u32) = (16, 3);
/// or if this many were refused, however few were sent.
const VERY_MUCH: u32 = 10;
/// This many openings in a row that ended soon, after about as many requests, prove a limit;
const ALIKE: (usize, f64) = (4, 0.85);
/// this many prove it in any case.
const MANY: usize = 10;
/// This part of the pace counts as all of it;
const ALL: f64 = 0.97;
/// if that happens this often, there is a limit below nevertheless.
const MANY_FULL: u32 = 6;
/// If this part of the pace was accepted for a window, the limit is not below it.
const NO_LOWER: f64 = 0.95;
/// If a proved limit turns out too high within this time, it was the best case.
const AGAIN: Duration = Duration::from_secs(15);
/// After much was refused: the next opening that ends soon shows the limit if it accepted this part of the limit that was found.
const NEXT_SHOWS: f64 = 0.6;
/// A window is counted in this many parts.
const PARTS: u32 = 20;

/// What was learned of the account's limit.
#[derive(Debug)]
pub(super) struct Learned {
    share: f64,
    /// Requests a second that the quota allows; none where nothing paces it.
    pace: Option<f64>,
    limit: Option<Found>,
    /// When the gate last opened.
    opened: Instant,
    /// How the opening ended that was ended by a refusal, until the gate opens again.
    ended: Option<Ended>,
    /// When the first request went out that was refused since it opened.
    first_refused: Option<Instant>,
    /// Requests that were accepted since it opened.
    run: u32,
    /// Openings that ended soon, but not before a whole window was accepted, one after the other.
    full: u32,
    /// What was accepted in the last window of openings that ended soon, one after the other.
    soon: VecDeque<f64>,
    sends: Sends,
}

/// A limit that was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    share: f64,
    at: Instant,
    /// Where the pace grows from.
    from: f64,
    /// How often it was met, one time soon after the other.
    met: u32,
    proof: Proof,
}

/// What tells of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// A refusal near it, which may be chance.
    None,
    /// What was accepted, again and again.
    Accepted,
    /// Much was refused beyond it.
    Refused,
}

impl Found {
    fn is_proved(&self) -> bool {
        self.proof > Proof::None
    }

    fn is_within(&self, part: f64, share: f64) -> bool {
        (self.share - share).abs() < self.share * part
    }

    /// For how long the pace stays below it.
    fn hold(&self) -> Duration {
        HOLD.saturating_mul(2_u32.saturating_pow(self.met - 1)).min(HOLD_LONGEST)
    }
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Instant,
    /// The last request was sent then.
    last: Instant,
    open_for: Duration,
}

impl Learned {
    /// Goes on from a share that was learned before.
    pub fn new(share: f64, now: Instant) -> Self {
        let share = if share.is_finite() { share.clamp(SHARE_MIN, 1.0) } else { 1.0 };
        let limit = (share < 1.0).then_some(Found { share, at: now, from: share, met: 1, proof: Proof::Accepted });
        Self {
            share,
            pace: None,
            limit,
            opened: now,
            ended: None,
            first_refused: None,
            run: 0,
            full: 0,
            soon: VecDeque::new(),
            sends: Sends::default(),
        }
    }

    /// The share of the quota that is used, 0.05 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The quota allows so many requests a second.
    pub fn set_pace(&mut self, pace: Option<f64>, now: Instant) {
        self.pace = pace;
        self.sends = Sends::new(self.window(), now);
        self.first_refused = None;
    }

    /// A request goes out.
    pub fn sent(&mut self, now: Instant) {
        self.sends.add(now, |part| part.sent += 1);
    }

    /// A request that went out at `sent` was refused.
    pub fn refused(&mut self, sent: Instant) {
        self.sends.add(sent, |part| part.refused += 1);
        if sent >= self.opened {
            self.first_refused = Some(self.first_refused.map_or(sent, |first| first.min(sent)));
        }
    }

    /// A request was accepted while the gate was open.
    pub fn accepted(&mut self) {
        self.run = self.run.saturating_add(1);
    }

    /// A refusal closed the open gate.
    pub fn closed(&mut self, last: Instant, now: Instant) {
        self.ended = Some(Ended { at: now, last, open_for: now.saturating_duration_since(self.opened) });
    }

    /// The gate opens. Where a refusal had closed it, all that was in flight then has been answered, and it teaches something.
    /// True where the share is another.
    pub fn opened(&mut self, now: Instant) -> bool {
        let before = self.share;
        if let Some(ended) = self.ended.take().filter(|_| self.pace.is_some()) {
            // Closed, it cannot find out whether more is left.
            if let Some(limit) = self.limit.as_mut() {
                limit.at += now.saturating_duration_since(ended.at);
            }
            self.learn(ended, now);
        }
        // What was refused while it was closed, or broken, tells nothing of the opening that begins now.
        (self.opened, self.run, self.first_refused) = (now, 0, None);
        self.share.total_cmp(&before).is_ne()
    }

    /// Lets the share come back while the gate is open. True where it is another.
    pub fn grow(&mut self, now: Instant) -> bool {
        let Some(limit) = self.limit.filter(|_| self.share < 1.0) else { return false };
        let since = now.saturating_duration_since(limit.at).as_secs_f64() / self.slowness();
        let back = (since - limit.hold().as_secs_f64()).max(0.0);
        let beyond = (back - BACK).max(0.0);
        let near = limit.from + (limit.share - limit.from) * (back / BACK).min(1.0);
        let share = (near + BEYOND * beyond + GROWTH * beyond.powi(3)).min(1.0);
        // Each change begins the pacing anew.
        let grown = share >= self.share * 1.01 || (share >= 1.0 && self.share < 1.0);
        if grown {
            self.share = share;
        }
        grown
    }

    fn learn(&mut self, ended: Ended, now: Instant) {
        let window = self.window();
        let counted = self.sends.before(ended.last, window);
        let full = self.pace.unwrap_or(f64::INFINITY) * window.as_secs_f64();
        // The account was full when it first refused; what was accepted after that had others' share of it, too.
        let first = self.first_refused.unwrap_or(ended.last);
        let accepted = counted.accepted().min(self.sends.before(first, window).accepted()) / full;
        let Counted { sent, refused } = counted;
        let run = if ended.open_for < window { f64::from(self.run) / full } else { 0.0 };
        let of_weight = f64::from(sent) >= full * self.share / 2.0 || refused >= VERY_MUCH;
        if of_weight && refused >= MUCH.1 && refused * MUCH.0 >= sent {
            return self.prove(accepted, Proof::Refused, now);
        }
        if ended.open_for >= window * LONG {
            self.forget();
            return self.near(accepted, now);
        }
        self.ended_soon(accepted.max(run), refused, now);
    }

    /// An opening ended soon, after so much was accepted: alone that may be chance.
    fn ended_soon(&mut self, accepted: f64, refused: u32, now: Instant) {
        if let Some(limit) = self.limit.filter(|limit| limit.is_proved() && now - limit.at < SOON) {
            if limit.is_within(SAME, accepted) && self.share > limit.share * BELOW {
                return self.prove(accepted.max(limit.share * LEAST_STEP), Proof::Accepted, now);
            }
            // One that is refused alone may be chance.
            let fresh = limit.proof == Proof::Refused && now - limit.at < AGAIN && refused > 1;
            if fresh && (limit.share * NEXT_SHOWS..self.share * ALL).contains(&accepted) {
                return self.prove(accepted, Proof::Refused, now);
            }
        }
        if accepted >= self.share * ALL {
            // A limit that is lower would have been met before the window was full.
            self.full += 1;
            match self.limit.filter(|limit| limit.is_proved() && self.share < limit.share * AT_LIMIT) {
                Some(limit) => self.tighten(limit),
                None if self.full >= MANY_FULL => self.prove(accepted, Proof::Accepted, now),
                None => {}
            }
            return;
        }
        self.soon.push_back(accepted);
        let last = || self.soon.iter().rev().take(ALIKE.0).copied();
        let (least, most) = (last().fold(f64::INFINITY, f64::min), last().fold(0.0, f64::max));
        if self.soon.len() >= ALIKE.0 && least >= most * ALIKE.1 {
            let again = self.limit.is_some_and(|limit| limit.is_proved() && now - limit.at < AGAIN);
            return self.prove(if again { least } else { most }, Proof::Accepted, now);
        }
        if self.soon.len() >= MANY {
            let most = self.soon.iter().copied().fold(0.0, f64::max);
            self.soon.clear();
            if most < self.share * NO_LOWER {
                self.prove(most, Proof::Accepted, now);
            }
        }
    }

    fn forget(&mut self) {
        self.soon.clear();
        self.full = 0;
    }

    /// So much of the quota is left.
    fn prove(&mut self, accepted: f64, proof: Proof, now: Instant) {
        self.forget();
        self.found(accepted.min(self.share), proof, now);
    }

    /// The limit may be near. Far below the last one, a refusal says nothing of it.
    fn near(&mut self, accepted: f64, now: Instant) {
        match self.limit {
            Some(limit) if self.share < limit.share * AT_LIMIT => {
                if limit.is_proved() {
                    self.tighten(limit);
                }
            }
            Some(limit) if limit.is_proved() => {
                self.found(accepted.clamp(limit.share * LEAST_STEP, self.share), Proof::None, now);
            }
            Some(limit) => self.found(self.share.max(limit.share), Proof::None, now),
            None => self.found(self.share, Proof::None, now),
        }
    }

    /// Stays farther below the limit; the way back to it begins when it would have begun.
    fn tighten(&mut self, limit: Found) {
        self.share = (self.share * TIGHTER.0).max(limit.share * TIGHTER.1).min(self.share);
        self.limit = Some(Found { from: self.share, ..limit });
    }

    fn found(&mut self, share: f64, proof: Proof, now: Instant) {
        let before = self.limit.filter(|limit| now - limit.at < SOON);
        let met = before.filter(|limit| limit.is_within(SAME, share)).map_or(1, |limit| limit.met + 1);
        let moved = before.is_some_and(|limit| limit.is_proved() && limit.is_within(MOVED, share));
        let proof = if moved { proof.max(Proof::Accepted) } else { proof };
        let below = if proof > Proof::None && met > 1 { BELOW_KNOWN } else { BELOW };
        self.share = (share * below).max(SHARE_MIN);
        self.limit = Some(Found { share: share.max(SHARE_MIN), at: now, from: self.share, met, proof });
    }

    /// How long a time tells something of so many requests.
    fn window(&self) -> Duration {
        let pace = self.pace.unwrap_or(TELLING).max(1e-3);
        Duration::from_secs_f64((TELLING / pace).clamp(SHORTEST, LONGEST))
    }

    fn slowness(&self) -> f64 {
        (SLOW / self.pace.unwrap_or(SLOW).max(1e-3)).clamp(1.0, LONGEST)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    sent: u32,
    refused: u32,
}

impl Counted {
    fn accepted(self) -> f64 {
        f64::from(self.sent.saturating_sub(self.refused))
    }
}

/// How many requests went out in each part of the last windows, and how many of them were refused.
#[derive(Debug, Default)]
struct Sends {
    parts: VecDeque<Counted>,
    /// When the first of the parts began.
    from: Option<Instant>,
    part: Duration,
}

impl Sends {
    fn new(window: Duration, now: Instant) -> Self {
        Self { parts: VecDeque::new(), from: Some(now), part: window / PARTS }
    }

    fn add(&mut self, at: Instant, count: impl FnOnce(&mut Counted)) {
        let Some(index) = self.index(at) else { return };
        // Far beyond the last one, the parts before it are too old to matter.
        let kept = usize::try_from(PARTS).unwrap_or(usize::MAX) * 4;
        let index = if index >= kept { self.forget(index + 1 - kept, index) } else { index };
        if self.parts.len() <= index {
            self.parts.resize(index + 1, Counted::default());
        }
        self.parts.get_mut(index).map(count);
    }

    /// Forgets so many parts; what was `index` then is what comes out.
    fn forget(&mut self, count: usize, index: usize) -> usize {
        self.parts.drain(..count.min(self.parts.len()));
        self.from = self.from.map(|from| from + self.part * u32::try_from(count).unwrap_or(u32::MAX));
        index - count
    }

    fn index(&self, at: Instant) -> Option<usize> {
        let since = at.checked_duration_since(self.from?)?;
        usize::try_from(since.as_nanos() / self.part.as_nanos().max(1)).ok()
    }

    /// What went out in the `window` that ends with `last`.
    fn before(&self, last: Instant, window: Duration) -> Counted {
        let Some(end) = self.index(last) else { return Counted::default() };
        let parts = usize::try_from(window.as_nanos() / self.part.as_nanos().max(1)).unwrap_or(usize::MAX);
        let parts = self.parts.iter().take(end + 1).rev().take(parts);
        parts.fold(Counted::default(), |sum, part| Counted {
            sent: sum.sent + part.sent,
            refused: sum.refused + part.refused,
        })
    }
}
