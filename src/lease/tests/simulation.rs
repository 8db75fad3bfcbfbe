//! Workers and a broker's single-active-consumer queue, with delays, losses, cuts, pauses, kills, a broker that restarts, queues that are
//! deleted, that takes no messages for a while, and clocks that differ. Every schedule follows from its seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::*;

const LEASE: Duration = Duration::from_secs(2);
/// All faults are over by then; the rest of the schedule has to be quiet.
const FAULTS_UNTIL: u64 = 60_000;
const END: u64 = 120_000;
/// From the last fault until somebody sends: what a broker takes to notice a silent connection, the lease, and a first note.
const BOUND: u64 = 45_000;
/// What a budget is booked ahead by.
const BOOKED: u64 = 5;

type Worker = usize;

/// What happens at a time, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    /// A worker looks at the time.
    Tick(Worker),
    /// What a worker sent arrives at the broker, of the worker's n-th connection.
    AtBroker(Worker, u64, Frame),
    /// What the broker sent arrives at a worker.
    AtWorker(Worker, u64, Delivered),
    /// A worker opens the queue.
    Open(Worker),
    /// The broker sees that a connection is gone.
    Seen(Worker, u64),
    Fault,
    Wake(Worker),
    Start(Worker),
    Heal,
}

#[derive(Clone, Debug, PartialEq)]
enum Frame {
    Consume,
    Publish(Note),
    Ack(u64),
    Return(u64),
    Leave,
}

#[derive(Clone, Debug, PartialEq)]
enum Delivered {
    Note(u64, Note, bool),
    Confirmed(u64),
    Failed(u64),
    Cancelled,
}

/// A process: gone when it is killed.
struct Process {
    machine: Machine,
    offset: Duration,
    /// Of its clock, in thousandths.
    rate: u64,
    connection: u64,
    frozen: bool,
    /// What arrived while it was frozen.
    backlog: VecDeque<(u64, Delivered)>,
    cut: bool,
    used: u64,
    booked: u64,
    confirmed: u64,
    booking: Option<(u64, u64)>,
    idle_until: u64,
    drives: bool,
    took_over: bool,
    ticks_at: Option<u64>,
}

struct Sim {
    base: Instant,
    now: u64,
    order: u64,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Event>,
    workers: Vec<Option<Process>>,
    starts: u128,
    // The broker's queue.
    ready: VecDeque<(u64, Note, bool)>,
    consumers: VecDeque<(Worker, u64)>,
    unacked: Vec<(Worker, u64, u64, Note)>,
    next: u64,
    dead: BTreeSet<(Worker, u64)>,
    /// When what a worker sends and gets arrives next, at the earliest: connections keep their order.
    to_broker: BTreeMap<(Worker, bool), u64>,
    to_worker: BTreeMap<Worker, u64>,
    slow_until: u64,
    /// The broker takes no messages until then.
    alarm_until: u64,
    partition: Option<Worker>,
    // What is asserted.
    used: u64,
    sent: u64,
    last_sent: u64,
    may_forget: bool,
    longest_silence: u64,
    log: Vec<String>,
}

impl Sim {
    fn new(seed: u64, workers: usize) -> Self {
        let mut sim = Self {
            base: crate::clock::now() + Duration::from_secs(100_000),
            now: 0,
            order: 0,
            random: fastrand::Rng::with_seed(seed),
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            workers: (0..workers).map(|_| None).collect(),
            starts: 0,
            ready: VecDeque::new(),
            consumers: VecDeque::new(),
            unacked: Vec::new(),
            next: 0,
            dead: BTreeSet::new(),
            to_broker: BTreeMap::new(),
            to_worker: BTreeMap::new(),
            slow_until: 0,
            alarm_until: 0,
            partition: None,
            used: 0,
            sent: 0,
            last_sent: 0,
            may_forget: false,
            longest_silence: 0,
            log: Vec::new(),
        };
        for worker in 0..workers {
            let at = sim.random.u64(0..3_000);
            sim.at(at, Event::Start(worker));
        }
        let at = sim.random.u64(500..8_000);
        sim.at(at, Event::Fault);
        sim
    }

    fn at(&mut self, at: u64, event: Event) {
        if let Event::Tick(worker) = event {
            // Only the next one counts: it sees what comes after it.
            let Some(process) = self.workers[worker].as_mut() else { return };
            if process.ticks_at.is_some_and(|ticks| ticks <= at) {
                return;
            }
            process.ticks_at = Some(at);
        }
        self.order += 1;
        self.events.push(Reverse((at.max(self.now), self.order)));
        self.what.insert(self.order, event);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, order))) = self.events.pop() {
            if at > END {
                break;
            }
            self.now = at;
            let Some(event) = self.what.remove(&order) else { continue };
            self.happens(event);
            self.check();
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Tick(worker) => self.tick(worker),
            Event::AtBroker(worker, connection, frame) => self.at_broker(worker, connection, frame),
            Event::AtWorker(worker, connection, delivered) => self.at_worker(worker, connection, delivered),
            Event::Open(worker) => self.open(worker),
            Event::Seen(worker, connection) => self.gone(worker, connection),
            Event::Fault => self.fault(),
            Event::Wake(worker) => self.wake(worker),
            Event::Start(worker) => self.start(worker),
            Event::Heal => self.partition = None,
        }
    }

    /// A worker's steady clock.
    fn clock(&self, process: &Process) -> Instant {
        self.base + process.offset + Duration::from_micros(self.now * process.rate)
    }

    fn start(&mut self, worker: Worker) {
        if self.workers[worker].is_some() {
            return;
        }
        self.starts += 1;
        let offset = Duration::from_secs(self.random.u64(0..10_000));
        let rate = self.random.u64(985..=1_015);
        let now = self.base + offset + Duration::from_micros(self.now * rate);
        let me = Owner { id: Uuid::from_u128(self.starts), name: format!("w{worker}") };
        let machine = Machine::new(me, LEASE, now);
        self.workers[worker] = Some(Process {
            machine,
            offset,
            rate,
            connection: 0,
            frozen: false,
            backlog: VecDeque::new(),
            cut: false,
            used: 0,
            booked: 0,
            confirmed: 0,
            booking: None,
            idle_until: 0,
            drives: false,
            took_over: false,
            ticks_at: None,
        });
        self.at(self.now, Event::Open(worker));
    }

    fn open(&mut self, worker: Worker) {
        if self.partition == Some(worker) {
            // No answer: it tries again.
            return self.at(self.now + 500, Event::Open(worker));
        }
        let Some(process) = self.workers[worker].as_mut().filter(|process| !process.frozen && process.connection == 0)
        else {
            return;
        };
        self.order += 1;
        process.connection = self.order;
        process.cut = false;
        let connection = process.connection;
        let now = self.base + process.offset + Duration::from_micros(self.now * process.rate);
        process.machine.opened(now);
        self.to_broker.remove(&(worker, false));
        self.to_broker.remove(&(worker, true));
        self.to_worker.remove(&worker);
        self.send(worker, connection, Frame::Consume);
        self.act(worker);
    }

    /// Publications and the rest go over connections of their own.
    fn send(&mut self, worker: Worker, connection: u64, frame: Frame) {
        let Some(process) = self.workers[worker].as_ref() else { return };
        if process.cut || self.partition == Some(worker) {
            if let Frame::Publish(note) = frame {
                let failed = Delivered::Failed(note.version);
                self.at(self.now + 10_000, Event::AtWorker(worker, connection, failed));
            }
            return;
        }
        let is_publication = matches!(frame, Frame::Publish(_));
        let delay = self.delay();
        if let Frame::Publish(note) = &frame
            && self.now + 10_000 < self.alarm_until
        {
            // It is not confirmed in time, and arrives later all the same.
            self.at(self.now + 10_000, Event::AtWorker(worker, connection, Delivered::Failed(note.version)));
        }
        let taken = if is_publication { self.alarm_until } else { 0 };
        let arrives = self.to_broker.entry((worker, is_publication)).or_default();
        *arrives = (self.now + delay).max(*arrives).max(taken);
        let at = *arrives;
        if is_publication && self.now < FAULTS_UNTIL && self.random.u32(0..40) == 0 {
            // A confirm was lost, and it was published again.
            self.at(at + 1, Event::AtBroker(worker, connection, frame.clone()));
        }
        self.at(at, Event::AtBroker(worker, connection, frame));
    }

    fn delay(&mut self) -> u64 {
        if self.now < self.slow_until { self.random.u64(100..1_500) } else { self.random.u64(1..20) }
    }

    fn at_broker(&mut self, worker: Worker, connection: u64, frame: Frame) {
        match frame {
            Frame::Publish(note) => {
                self.next += 1;
                let (delay, confirmed) = (self.delay(), Delivered::Confirmed(note.version));
                self.at(self.now + delay, Event::AtWorker(worker, connection, confirmed));
                self.ready.push_back((self.next, note, false));
            }
            Frame::Consume | Frame::Ack(_) | Frame::Return(_) if self.dead.contains(&(worker, connection)) => {}
            Frame::Consume => self.consumers.push_back((worker, connection)),
            Frame::Ack(tag) => {
                self.unacked.retain(|(of, over, held, _)| (*of, *over, *held) != (worker, connection, tag));
            }
            Frame::Return(tag) => {
                let is_it = |(of, over, held, _): &mut (Worker, u64, u64, Note)| {
                    (*of, *over, *held) == (worker, connection, tag)
                };
                let returned: Vec<_> = self.unacked.extract_if(.., is_it).collect();
                for (_, _, _, note) in returned {
                    self.next += 1;
                    self.ready.push_front((self.next, note, true));
                }
            }
            Frame::Leave => return self.gone(worker, connection),
        }
        self.deliver();
    }

    /// A consumer is gone: what it had comes back to the front, in order.
    fn gone(&mut self, worker: Worker, connection: u64) {
        self.dead.insert((worker, connection));
        self.consumers.retain(|consumer| *consumer != (worker, connection));
        let mut back: Vec<(u64, Note, bool)> = self
            .unacked
            .extract_if(.., |(of, over, ..)| (*of, *over) == (worker, connection))
            .map(|(_, _, id, note)| (id, note, true))
            .collect();
        back.sort_by_key(|(id, ..)| Reverse(*id));
        back.into_iter().for_each(|note| self.ready.push_front(note));
        self.deliver();
    }

    fn deliver(&mut self) {
        let Some((worker, connection)) = self.consumers.front().copied() else { return };
        if self.partition == Some(worker) && self.workers.len() > 1 {
            // The queue's leader gives nothing to a node that it does not hear, and keeps the role for it.
            return;
        }
        while let Some((id, note, again)) = self.ready.pop_front() {
            self.unacked.push((worker, connection, id, note.clone()));
            let delay = self.delay();
            let arrives = self.to_worker.entry(worker).or_default();
            *arrives = (self.now + delay).max(*arrives);
            let at = *arrives;
            self.at(at, Event::AtWorker(worker, connection, Delivered::Note(id, note, again)));
        }
    }

    fn at_worker(&mut self, worker: Worker, connection: u64, delivered: Delivered) {
        let Some(process) = self.workers[worker].as_mut() else { return };
        if process.connection != connection || process.cut {
            return;
        }
        if process.frozen {
            return process.backlog.push_back((connection, delivered));
        }
        let now = self.base + process.offset + Duration::from_micros(self.now * process.rate);
        match delivered {
            Delivered::Note(tag, note, again) => process.machine.received(tag, note, again, now),
            Delivered::Confirmed(version) => process.machine.confirmed(version, now),
            Delivered::Failed(version) => process.machine.failed(version, now),
            Delivered::Cancelled => {
                process.machine.closed(now);
                process.connection = 0;
                let at = self.now + self.random.u64(1..500);
                self.at(at, Event::Open(worker));
            }
        }
        self.act(worker);
    }

    fn tick(&mut self, worker: Worker) {
        let Some(process) = self.workers[worker].as_mut() else { return };
        if process.ticks_at.is_none_or(|at| at > self.now) {
            return;
        }
        process.ticks_at = None;
        if process.frozen {
            return;
        }
        let now = self.base + process.offset + Duration::from_micros(self.now * process.rate);
        process.machine.tick(now);
        self.drive(worker);
        self.act(worker);
    }

    /// What a driver does: it books, and sends what is booked.
    fn drive(&mut self, worker: Worker) {
        let (now, random) = (self.now, self.random.u32(0..400));
        let Some(process) = self.workers[worker].as_mut() else { return };
        if !process.drives {
            return;
        }
        if random == 0 && now < FAULTS_UNTIL {
            process.idle_until = now + 3_000;
        }
        let clock = self.base + process.offset + Duration::from_micros(now * process.rate);
        let wants = now >= process.idle_until;
        process.machine.want(wants, clock);
        if let Some((version, booked)) = process.booking
            && process.machine.recorded() >= version
        {
            process.confirmed = process.confirmed.max(booked);
            process.booking = None;
        }
        if wants && process.booking.is_none() && process.used + 2 > process.confirmed {
            process.booked = process.confirmed + BOOKED;
            let version = process.machine.record(json!({"booked": process.booked}), true, clock);
            process.booking = Some((version, process.booked));
        }
        let open = process.machine.may_send_until().is_some_and(|until| clock < until);
        if open && std::mem::take(&mut process.took_over) {
            let booked = process.confirmed;
            assert!(booked >= self.used || self.may_forget, "{} used, the ledger says {booked}", self.used);
            // What was booked and not used is wasted.
            process.used = booked;
        }
        if wants && open && process.used < process.confirmed {
            process.used += 1;
            self.used = process.used;
            self.sent += 1;
            self.longest_silence = self.longest_silence.max(now - self.last_sent);
            self.last_sent = now;
        }
        let at = now + 50;
        self.at(at, Event::Tick(worker));
    }

    fn act(&mut self, worker: Worker) {
        let Some(process) = self.workers[worker].as_mut() else { return };
        let (acts, connection) = (process.machine.acts(), process.connection);
        for act in acts {
            self.log.push(format!("{:>6} w{worker} {act:?}", self.now));
            let Some(process) = self.workers[worker].as_mut() else { return };
            match act {
                Act::Publish(note) => self.send(worker, connection, Frame::Publish(note)),
                Act::Ack(tag) => self.send(worker, connection, Frame::Ack(tag)),
                Act::Return(tag) => self.send(worker, connection, Frame::Return(tag)),
                Act::Drive(ledger) => {
                    let booked = ledger.get("booked").and_then(Value::as_u64).unwrap_or(0);
                    (process.booked, process.confirmed, process.booking) = (booked, booked, None);
                    process.drives = true;
                    process.took_over = true;
                    self.at(self.now + 1, Event::Tick(worker));
                }
                Act::Stop => process.drives = false,
                Act::Leave => {
                    process.connection = 0;
                    let at = self.now + self.random.u64(100..1_000);
                    self.send(worker, connection, Frame::Leave);
                    self.at(at, Event::Open(worker));
                }
            }
        }
        let Some(process) = self.workers[worker].as_ref() else { return };
        if let Some(next) = process.machine.next_at() {
            let ahead = next.saturating_duration_since(self.clock(process));
            let ahead = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX).min(60_000) + 1;
            self.at(self.now + ahead, Event::Tick(worker));
        }
    }

    fn wake(&mut self, worker: Worker) {
        let Some(process) = self.workers[worker].as_mut() else { return };
        process.frozen = false;
        let backlog = std::mem::take(&mut process.backlog);
        if process.cut {
            // It finds out.
            let now = self.base + process.offset + Duration::from_micros(self.now * process.rate);
            process.machine.closed(now);
            process.connection = 0;
            self.at(self.now + 300, Event::Open(worker));
        }
        for (connection, delivered) in backlog {
            self.at(self.now, Event::AtWorker(worker, connection, delivered));
        }
        if self.workers[worker].as_ref().is_some_and(|process| process.connection == 0) {
            self.at(self.now + 300, Event::Open(worker));
        }
        self.at(self.now, Event::Tick(worker));
    }

    /// The broker's connection to the worker is dead; each end finds out in its own time.
    fn cut(&mut self, worker: Worker, broker_sees: u64, worker_sees: u64) {
        let Some(process) = self.workers[worker].as_mut() else { return };
        process.cut = true;
        let connection = process.connection;
        self.at(self.now + broker_sees, Event::Seen(worker, connection));
        self.at(self.now + worker_sees, Event::AtWorker(worker, u64::MAX, Delivered::Cancelled));
        let at = self.now + worker_sees;
        self.at(at, Event::Wake(worker));
    }

    fn fault(&mut self) {
        let worker = self.random.usize(0..self.workers.len());
        let kind = self.random.u32(0..10);
        self.log.push(format!("{:>6} fault {kind} at w{worker}", self.now));
        match kind {
            // kill -9, and a new process a while later.
            0 | 1 => {
                if let Some(process) = self.workers[worker].take() {
                    let connection = process.connection;
                    self.at(self.now + 1, Event::Seen(worker, connection));
                    let at = self.now + self.random.u64(10..10_000);
                    self.at(at, Event::Start(worker));
                }
            }
            // Stopped and continued. The broker may hang up meanwhile.
            2 | 3 => {
                let long = self.random.u64(200..20_000);
                if let Some(process) = self.workers[worker].as_mut().filter(|process| !process.frozen) {
                    process.frozen = true;
                    if long > 12_000 {
                        process.cut = true;
                        let connection = process.connection;
                        self.at(self.now + 12_000, Event::Seen(worker, connection));
                    }
                    self.at(self.now + long, Event::Wake(worker));
                }
            }
            // A way that goes silent.
            4 => {
                let (broker, worker_sees) = (self.random.u64(4_000..15_000), self.random.u64(4_000..15_000));
                self.cut(worker, broker, worker_sees);
            }
            // A broker that restarts: what was delivered is ready again, in order.
            5 => {
                for worker in 0..self.workers.len() {
                    self.cut(worker, 0, self.random.clone().u64(1..400));
                }
            }
            // Slow for a while.
            6 => self.slow_until = self.now + self.random.u64(1_000..10_000),
            // A node in the minority.
            7 => {
                self.partition = Some(worker);
                let long = self.random.u64(1_000..20_000);
                self.at(self.now + long, Event::Heal);
                self.cut(worker, self.random.clone().u64(1_000..20_000), long);
            }
            // It takes no messages.
            8 => self.alarm_until = self.now + self.random.u64(500..25_000),
            // The queue is deleted, and made again by who opens it first.
            _ => {
                self.may_forget = true;
                self.ready.clear();
                self.unacked.clear();
                for (worker, connection) in std::mem::take(&mut self.consumers) {
                    self.at(self.now + 2, Event::AtWorker(worker, connection, Delivered::Cancelled));
                }
            }
        }
        if self.now < FAULTS_UNTIL {
            let at = self.now + self.random.u64(100..12_000);
            self.at(at.min(FAULTS_UNTIL), Event::Fault);
        }
    }

    fn check(&mut self) {
        let senders: Vec<Worker> = (0..self.workers.len())
            .filter(|worker| {
                self.workers[*worker].as_ref().is_some_and(|process| {
                    !process.frozen && process.machine.may_send_until().is_some_and(|until| self.clock(process) < until)
                })
            })
            .collect();
        assert!(senders.len() <= 1, "at {} ms workers {senders:?} may send", self.now);
    }
}

fn schedule(seed: u64) {
    let workers = 1 + usize::try_from(seed % 4).unwrap();
    let mut sim = Sim::new(seed, workers);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sim.run()));
    let quiet = END - sim.last_sent;
    if ran.is_err() || sim.sent == 0 || quiet > 5_000 || sim.longest_silence > FAULTS_UNTIL + BOUND {
        let log = sim.log.len().saturating_sub(80);
        panic!(
            "seed {seed}: {} sent, the last {quiet} ms before the end\n{}\nconsumers {:?} ready {} unacked {:?} partition {:?} connections {:?}",
            sim.sent,
            sim.log[log..].join("\n"),
            sim.consumers,
            sim.ready.len(),
            sim.unacked.iter().map(|(worker, over, ..)| (worker, over)).collect::<Vec<_>>(),
            sim.partition,
            sim.workers
                .iter()
                .map(|process| process.as_ref().map(|process| (process.connection, process.cut, process.frozen)))
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn never_two_send_and_the_ledger_is_never_forgotten_and_somebody_drives_in_the_end() {
    let few = std::env::var_os("SLUICE_FEW_SCHEDULES").is_some();
    (0..if few { 200 } else { 2_000 }).for_each(schedule);
}
