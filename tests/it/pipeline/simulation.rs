//! Random schedules of everything that can go wrong, thousands of them. Whatever happens, each event ends delivered,
//! as a dead letter, or still queued; twice only where an answer or a confirm was lost; and the limit is kept.

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt as _;
use sluice::control::stamp::Change;
use sluice::destination::Handover;
use sluice::message::Message;
use tokio::runtime::Builder;

use super::broker::{Fate, replay};
use super::vendor::{Answer, Call};
use super::{Stage, message, pass, replays, seconds, some_of};

/// How many schedules are tried; each is replayed by its number alone, but for the jitter of the gate's growing pauses.
const SCHEDULES: u64 = 1_200;
const LIMIT: usize = 40;
const SETTINGS: &str =
    "limits = [\"40/s\"]\nconcurrency = 8\n[destinations.hook.retry]\ndelays = [\"1s\", \"3s\", \"10s\"]";

/// What a vendor is like for a while.
#[derive(Clone, Copy, Debug)]
enum Weather {
    Fine,
    Flaky,
    Down,
    Throttling,
    Rejecting,
    Hanging,
    KeyRefused,
}

impl Weather {
    const ALL: [Self; 7] =
        [Self::Fine, Self::Flaky, Self::Down, Self::Throttling, Self::Rejecting, Self::Hanging, Self::KeyRefused];

    fn answer(self, call: &Call, rng: &mut Rng) -> Answer {
        // Some events are bad whatever the weather.
        if call.event % 17 == 16 && matches!(self, Self::Fine | Self::Flaky) {
            return Answer::Status(400);
        }
        let likely = |rng: &mut Rng, share: f64| rng.f64() < share;
        match self {
            Self::Fine => Answer::Status(201),
            Self::Flaky if likely(rng, 0.3) => trouble(rng),
            Self::Flaky => Answer::slow(201, Duration::from_millis(rng.u64(1..900))),
            Self::Down => trouble(rng),
            Self::Throttling if likely(rng, 0.3) => throttled(rng),
            Self::Throttling => Answer::Status(201),
            Self::Rejecting => Answer::Status(*rng.choice(&[400, 404, 413, 422]).unwrap()),
            Self::Hanging => Answer::Hang,
            Self::KeyRefused => Answer::Status(*rng.choice(&[401, 403]).unwrap()),
        }
    }
}

fn trouble(rng: &mut Rng) -> Answer {
    match rng.u8(0..5) {
        0 => Answer::Status(500),
        1 => Answer::With(503, "retry-after", rng.u8(1..5).to_string()),
        2 => Answer::Reset,
        3 => Answer::Refuse,
        _ => Answer::Status(502),
    }
}

fn throttled(rng: &mut Rng) -> Answer {
    if rng.bool() { Answer::Status(429) } else { Answer::With(429, "retry-after", rng.u8(0..6).to_string()) }
}

/// One schedule, and what it did so far.
struct Schedule {
    rng: Rng,
    stage: Stage,
    published: u64,
    /// The numbers of the events that were replayed.
    replayed: Vec<u64>,
    /// A worker was killed, a channel lost, or a publication failed.
    lossy: bool,
    story: String,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        // Delays are drawn from this thread's generator.
        fastrand::seed(seed);
        Self {
            rng: Rng::with_seed(seed),
            stage: Stage::new(SETTINGS),
            published: 0,
            replayed: Vec::new(),
            lossy: false,
            story: String::new(),
        }
    }

    async fn run(&mut self) {
        for _ in 0..self.rng.usize(2..7) {
            self.change_weather();
            self.publish();
            pass(Duration::from_millis(self.rng.u64(1..15_000))).await;
            self.befall().await;
        }
        self.tell("all is well again");
        self.stage.vendor.behave({
            let mut rng = self.rng.fork();
            move |call| Weather::Fine.answer(call, &mut rng)
        });
        self.stage.broker.decide(|| Fate::Confirmed);
        for _ in 0..120 {
            if self.stage.broker.is_drained() {
                // The last notices are on their way.
                pass(seconds(1)).await;
                return self.check();
            }
            self.stage.change(Change::Resume).await;
            pass(seconds(5)).await;
        }
        panic!("events are left although all has been well for ten minutes: {:?}", self.stage.view().await);
    }

    fn change_weather(&mut self) {
        let weather = *self.rng.choice(&Weather::ALL).unwrap();
        self.tell(format!("{weather:?}"));
        let mut rng = self.rng.fork();
        self.stage.vendor.behave(move |call| weather.answer(call, &mut rng));
    }

    fn publish(&mut self) {
        let end = self.published + self.rng.u64(0..30);
        for event in self.published..end {
            let with_id = self.rng.bool();
            let message = self.perhaps_replayed(event, message(event, with_id));
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
            0 | 1 => {
                self.tell("channel lost");
                self.lossy = true;
                self.stage.broker.cut();
            }
            2 => {
                self.tell("killed");
                self.lossy = true;
                self.stage.kill().await;
                self.stage.start(&Handover::default());
            }
            3 | 4 => {
                self.tell("stopped and started");
                let ledger = self.stage.stop().await;
                self.stage.start(&ledger);
            }
            5 => {
                self.tell("publishing fails");
                self.lossy = true;
                let mut rng = self.rng.fork();
                let fates = [Fate::Confirmed, Fate::Refused, Fate::Lost, Fate::StoredButLost];
                self.stage.broker.decide(move || rng.choice(fates).unwrap());
            }
            6 => {
                self.tell("paused for a while");
                self.stage.change(Change::PAUSE).await;
                pass(seconds(self.rng.u64(0..60))).await;
                self.stage.change(Change::Resume).await;
            }
            _ => {}
        }
    }

    fn check(&self) {
        let dead = self.stage.broker.dead();
        for event in 0..self.published {
            let taken = self.stage.vendor.taken(event);
            let body = message(event, false).body;
            let letters = dead.iter().filter(|letter| letter.body == body).count();
            let doubts = self.stage.broker.doubts(event, self.stage.vendor.first_sent(event));
            assert!(taken + letters >= 1, "event {event} is lost");
            assert!(
                taken + letters <= 1 + doubts,
                "event {event} ended {taken} times delivered and {letters} times dead, with {doubts} doubts"
            );
            let rejected = self.stage.vendor.calls().iter().any(|(call, answer)| {
                call.event == event && answer.status().is_some_and(|status| matches!(status, 400 | 404 | 413 | 422))
            });
            assert!(letters == 0 || rejected, "event {event} is a dead letter although the vendor never rejected it");
        }
        replays::check_told(&self.stage, &self.replayed, self.lossy);
        let at: Vec<Duration> = self.stage.vendor.calls().iter().map(|(call, _)| call.at).collect();
        let over = at.windows(LIMIT + 1).find(|window| window[LIMIT] - window[0] < seconds(1));
        assert!(over.is_none(), "over the limit: {over:?}");
    }

    fn tell(&mut self, what: impl AsRef<str>) {
        writeln!(self.story, "{:>12?} {}", self.stage.vendor.now(), what.as_ref()).unwrap();
    }
}

/// Plays one schedule; its story, where it failed.
fn play(seed: u64) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut schedule = Schedule::new(seed);
        let ended = AssertUnwindSafe(schedule.run()).catch_unwind().await;
        ended.map_err(|_| {
            let calls: Vec<String> = schedule.stage.vendor.calls().iter().map(told).collect();
            format!(
                "schedule {seed} failed as said above; play({seed}) plays it alone\n{}{}",
                schedule.story,
                calls.join("\n")
            )
        })
    })
}

fn told((call, answer): &(Call, Answer)) -> String {
    format!("{:>12?} event {} {answer:?}", call.at, call.event)
}

#[test]
fn whatever_happens_each_event_is_delivered_or_dead_and_twice_only_where_an_answer_was_lost() {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let seeds = (0..some_of(SCHEDULES)).filter(move |seed| seed % 2 == half);
            scope.spawn(move || seeds.filter_map(|seed| play(seed).err()).take(2).collect::<Vec<_>>())
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
