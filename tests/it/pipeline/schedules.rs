//! Random schedules over a vendor that has everything: batches, ordering keys, access tokens, lookups, and for some of them jobs.
//! Whatever happens, each event has an end, no window is exceeded, and ordering keys keep their order where nothing was lost.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt as _;
use serde_json::json;
use sluice::clock;
use sluice::control::stamp::Change;
use sluice::delivery::token::{Stored, Tokens};
use sluice::destination::Handover;
use sluice::message::Message;
use sluice::vendors::When;
use tokio::runtime::Builder;

use super::account::{Account, accepted, bearer, done, job, rows, well, with};
use super::broker::{Fate, replay};
use super::ordering_keys::{assert_one_at_a_time, assert_order};
use super::vendor::{Answer, Call};
use super::{Stage, event_number, pass, replays, seconds, some_of};

/// How many schedules are tried; each is replayed by its number alone, but for the jitter of the gate's growing pauses.
const SCHEDULES: u64 = 400;
const LIMIT: usize = 40;
const LANE_LIMIT: usize = 10;
const LANES: u64 = 4;
const SETTINGS: &str =
    "limits = [\"40/s\"]\nconcurrency = 8\n[destinations.hook.retry]\ndelays = [\"1s\", \"3s\", \"10s\"]";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    Fine,
    Flaky,
    Down,
    Throttling,
    Rejecting,
    Hanging,
    Revoked,
    SignInRefused,
    TokensDown,
    JobsSlow,
    JobsFailing,
    JobsForgotten,
}

impl Weather {
    const ALL: [Self; 12] = [
        Self::Fine,
        Self::Flaky,
        Self::Down,
        Self::Throttling,
        Self::Rejecting,
        Self::Hanging,
        Self::Revoked,
        Self::SignInRefused,
        Self::TokensDown,
        Self::JobsSlow,
        Self::JobsFailing,
        Self::JobsForgotten,
    ];

    /// `tokens_from`: the tokens before that number have been revoked.
    fn answer(self, call: &Call, jobs: bool, tokens_from: usize, rng: &mut Rng) -> Answer {
        if let Some(answer) = self.of_the_network(rng) {
            return answer;
        }
        match call.path.as_str() {
            "/token" if self == Self::SignInRefused => Answer::Status(400),
            "/token" if self == Self::TokensDown => Answer::Status(503),
            "/token" => well(call),
            _ if bearer(call).is_none_or(|token| token < tokens_from) => Answer::Status(401),
            "/events" if self == Self::Rejecting => Answer::Status(if rng.bool() { 400 } else { 413 }),
            "/events" if call.events.iter().any(|event| is_bad(*event)) => Answer::Status(400),
            "/events" if jobs => accepted(call),
            path => match (path.strip_prefix("/jobs/"), self) {
                (Some(_), Self::JobsSlow) => job("running"),
                (Some(_), Self::JobsFailing) => job("failed"),
                (Some(_), Self::JobsForgotten) => Answer::Status(404),
                (Some(name), _) => done(rows(name), 0),
                (None, _) => well(call),
            },
        }
    }

    fn of_the_network(self, rng: &mut Rng) -> Option<Answer> {
        let trouble = [Answer::Status(500), Answer::Status(503), Answer::Reset, Answer::Refuse];
        let now_and_then = rng.f64() < 0.3;
        if self == Self::Hanging {
            Some(Answer::Hang)
        } else if self == Self::Down || (self == Self::Flaky && now_and_then) {
            rng.choice(trouble)
        } else if self == Self::Throttling && now_and_then {
            Some(Answer::With(429, "retry-after", rng.u8(0..6).to_string()))
        } else {
            None
        }
    }
}

/// Some events are bad whatever the weather.
fn is_bad(event: u64) -> bool {
    event % 17 == 16
}

struct Schedule {
    rng: Rng,
    stage: Stage,
    jobs: bool,
    published: u64,
    /// The numbers of the events that were replayed.
    replayed: Vec<u64>,
    tokens_from: usize,
    /// A worker was killed, a channel lost, or a request given up.
    broken: bool,
    /// A publication failed.
    deaf: bool,
    story: String,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        // Delays are drawn from this thread's generator.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let when = if rng.bool() { When::Always } else { When::Scarce };
        let account = Account::PLAIN.batches(rng.usize(1..30), rng.usize(50..2_000), when).signs_in();
        let jobs = rng.u8(0..3) == 0;
        let account = if jobs { account } else { account.ordering_keys(&format!("{LANE_LIMIT}/s")) };
        let stage = account.stage(SETTINGS);
        Self {
            rng,
            stage,
            jobs,
            published: 0,
            replayed: Vec::new(),
            tokens_from: 0,
            broken: false,
            deaf: false,
            story: String::new(),
        }
    }

    async fn run(&mut self) {
        for _ in 0..self.rng.usize(2..7) {
            let weather = *self.rng.choice(&Weather::ALL).unwrap();
            self.change(weather);
            self.publish();
            pass(Duration::from_millis(self.rng.u64(1..15_000))).await;
            self.befall().await;
        }
        self.change(Weather::Fine);
        self.stage.broker.decide(|| Fate::Confirmed);
        for _ in 0..900 {
            if self.stage.broker.is_drained() {
                // The last notices are on their way.
                pass(seconds(1)).await;
                return self.check();
            }
            self.stage.change(Change::Resume).await;
            pass(seconds(10)).await;
        }
        panic!("events are left although all has been well for hours: {:?}", self.stage.view().await);
    }

    fn change(&mut self, weather: Weather) {
        self.tell(format!("{weather:?}"));
        if weather == Weather::Revoked {
            self.tokens_from = self.stage.vendor.calls_to("/token").len();
        }
        let (jobs, tokens_from, mut rng) = (self.jobs, self.tokens_from, self.rng.fork());
        self.stage.vendor.behave(move |call| weather.answer(call, jobs, tokens_from, &mut rng));
    }

    fn publish(&mut self) {
        let end = self.published + self.rng.u64(0..80);
        for event in self.published..end {
            let mut more = json!({ "needs": "order", "fill": "x".repeat(self.rng.usize(0..60)) });
            if !self.jobs {
                more["ordering_key"] = (event % LANES).into();
            }
            let message = self.perhaps_replayed(event, with(event, &more));
            self.stage.broker.put("shop.order", message);
        }
        self.published = end;
    }

    /// One in four is a replay.
    fn perhaps_replayed(&mut self, event: u64, message: Message) -> Message {
        if self.rng.u8(0..4) > 0 {
            return message;
        }
        self.replayed.push(event);
        replay(event, message)
    }

    async fn befall(&mut self) {
        match self.rng.u8(0..9) {
            0 => {
                self.tell("channel lost");
                self.broken = true;
                self.stage.broker.cut();
            }
            1 => {
                self.tell("killed");
                self.broken = true;
                self.stage.kill().await;
                let ledger = self.last_ledger();
                self.stage.start(&ledger);
            }
            2 | 3 => {
                self.tell("stopped and started");
                let ledger = self.stage.stop().await;
                // What was given up may still be at the vendor.
                self.broken |= self.stage.vendor.calls().iter().any(|(call, _)| call.answered.is_none());
                self.stage.start(&ledger);
            }
            4 => {
                self.tell("publishing fails");
                self.deaf = true;
                let mut rng = self.rng.fork();
                let fates = [Fate::Confirmed, Fate::Refused, Fate::Lost, Fate::StoredButLost];
                self.stage.broker.decide(move || rng.choice(fates).unwrap());
            }
            5 => {
                self.tell("paused for a while");
                self.stage.change(Change::PAUSE).await;
                pass(seconds(self.rng.u64(0..60))).await;
                self.stage.change(Change::Resume).await;
            }
            _ => {}
        }
    }

    /// What the worker that was killed had written down: the calls for a token outlive it.
    fn last_ledger(&self) -> Handover {
        let (now, wall) = (self.stage.vendor.now(), clock::wall());
        let calls = self.stage.vendor.calls_to("/token");
        let calls = calls.iter().map(|call| wall - (now - call.at)).collect();
        let (stored, grant) = (Stored { calls, ..Stored::default() }, self.stage.settings.vendor.grant().unwrap());
        let tokens = Tokens::new(grant, Some(stored), clock::now(), wall);
        Handover { tokens: Some(tokens.stored(clock::now(), wall)), ..Handover::default() }
    }

    fn check(&self) {
        self.check_ends();
        replays::check_told(&self.stage, &self.replayed, self.broken || self.deaf);
        let vendor = &self.stage.vendor;
        let at: Vec<Duration> = vendor.calls().iter().map(|(call, _)| call.at).collect();
        check_window(&at, LIMIT, seconds(1));
        let tokens: Vec<Duration> = vendor.calls_to("/token").iter().map(|call| call.at).collect();
        check_window(&tokens, 5, seconds(3_600));
        if self.jobs {
            return;
        }
        let ordering_key = |event: u64| event % LANES;
        for one in 0..LANES {
            let calls = vendor.calls_to("/events").into_iter().filter(|call| ordering_key(call.event) == one);
            check_window(&calls.map(|call| call.at).collect::<Vec<_>>(), LANE_LIMIT, seconds(1));
        }
        let moved = self.stage.broker.published().into_iter().any(|copy| copy.queue.contains(".retry."));
        if !self.broken {
            assert_one_at_a_time(vendor, ordering_key);
            // What is given back while a gate is closed for long comes again behind what was given back before it.
            if !moved && self.stage.broker.requeued() == 0 {
                assert_order(vendor, ordering_key);
            }
        }
    }

    fn check_ends(&self) {
        let mut taken = HashMap::<u64, usize>::new();
        self.stage.vendor.deliveries().into_iter().for_each(|event| *taken.entry(event).or_default() += 1);
        let mut letters = HashMap::<u64, usize>::new();
        for letter in self.stage.broker.dead() {
            *letters.entry(event_number(&letter.body).unwrap()).or_default() += 1;
        }
        for event in 0..self.published {
            let count = |of: &HashMap<u64, usize>| of.get(&event).copied().unwrap_or(0);
            let (taken, letters) = (count(&taken), count(&letters));
            assert!(taken + letters >= 1, "event {event} is lost");
            let ends = if self.jobs { letters } else { taken + letters };
            if ends > 1 {
                let doubts = self.stage.broker.doubts(event, self.stage.vendor.first_sent(event));
                assert!(ends <= 1 + doubts, "event {event}: {taken} taken, {letters} dead, {doubts} doubts");
            }
        }
    }

    fn tell(&mut self, what: impl AsRef<str>) {
        writeln!(self.story, "{:>12?} {}", self.stage.vendor.now(), what.as_ref()).unwrap();
    }
}

#[track_caller]
fn check_window(at: &[Duration], most: usize, length: Duration) {
    let over = at.windows(most + 1).find(|window| window[most] - window[0] < length);
    assert!(over.is_none(), "more than {most} in {length:?}: {over:?}");
}

/// Plays one schedule; its story, where it failed.
fn play(seed: u64) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(seed);
        let ended = AssertUnwindSafe(schedule.run()).catch_unwind().await;
        ended.map_err(|_| {
            let calls: Vec<String> = schedule.stage.vendor.calls().iter().map(told).collect();
            format!("schedule {seed} failed as said above\n{}{}", schedule.story, calls.join("\n"))
        })
    })
}

fn told((call, answer): &(Call, Answer)) -> String {
    format!("{:>12?} {} {:?} {answer:?}", call.at, call.path, call.events)
}

#[test]
fn whatever_happens_to_a_vendor_with_everything_each_event_has_an_end_and_no_window_is_exceeded() {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let seeds = (0..some_of(SCHEDULES)).filter(move |seed| seed % 2 == half);
            scope.spawn(move || seeds.filter_map(|seed| play(seed).err()).take(2).collect::<Vec<_>>())
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
