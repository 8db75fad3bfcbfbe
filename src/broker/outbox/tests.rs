//! Queues that confirm, queues that do not, and time made up.

use tokio::sync::oneshot;

use super::*;
use crate::message::Message;

const SECOND: Duration = Duration::from_secs(1);

/// An outbox with the queues behind it: each confirms at once, or not at all; channels are there when they are wanted.
struct Stage {
    outbox: Outbox,
    now: Instant,
    silent: Vec<&'static str>,
    /// SentTo and not confirmed.
    open: Vec<(i64, SentTo, String)>,
    answers: Vec<oneshot::Receiver<Result<(), PublishError>>>,
    /// Channels that were replaced.
    replaced: usize,
}

impl Stage {
    fn new(silent: &[&'static str]) -> Self {
        let (outbox, now) = (Outbox::new(WINDOW), crate::clock::now());
        Self { outbox, now, silent: silent.to_vec(), open: Vec::new(), answers: Vec::new(), replaced: 0 }
    }

    fn publish(&mut self, queue: &str, count: usize) {
        for _ in 0..count {
            let (outcome, answer) = oneshot::channel();
            let routing_key = queue.to_owned();
            let publication =
                Publication { exchange: String::new(), routing_key, message: Message::default(), delay: None, outcome };
            self.outbox.take(publication, self.now);
            self.answers.push(answer);
        }
    }

    /// Sends what may be sent; returns how much went each way.
    fn send(&mut self) -> (usize, usize) {
        let mut sent = (0, 0);
        for way in [Way::Main, Way::Side] {
            while let Some((id, sent_to, publication)) = self.outbox.next(way, self.now) {
                match way {
                    Way::Main => sent.0 += 1,
                    Way::Side => sent.1 += 1,
                }
                self.open.push((id, sent_to, publication.routing_key.clone()));
            }
        }
        sent
    }

    fn answer(&mut self, accepted: bool) {
        for (id, sent_to, _) in self.open.extract_if(.., |(_, _, queue)| !self.silent.contains(&queue.as_str())) {
            if let Some(publication) = self.outbox.answered(id, sent_to, accepted) {
                publication.outcome.send(accepted.then_some(()).ok_or(PublishError::Refused)).unwrap();
            }
        }
    }

    /// Sends and confirms as long as something happens.
    fn work(&mut self) {
        while self.send() != (0, 0) {
            self.answer(true);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for publication in self.outbox.expire(self.now) {
            publication.outcome.send(Err(timed_out())).unwrap();
        }
        for way in [Way::Main, Way::Side] {
            if self.outbox.wants_channel(way, self.now) {
                self.outbox.begin_channel(way);
                self.replaced += 1;
            }
        }
    }

    /// Outcomes so far: safe, and not.
    fn outcomes(&mut self) -> (usize, usize) {
        let told: Vec<_> = self.answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).collect();
        let safe = told.iter().filter(|outcome| outcome.is_ok()).count();
        (safe, told.len() - safe)
    }
}

#[test]
fn a_queue_that_does_not_confirm_holds_up_only_what_goes_to_it() {
    let mut stage = Stage::new(&["bad"]);
    stage.publish("bad", 500);
    for _ in 0..20 {
        stage.publish("good", 100);
        stage.work();
        stage.pass(SECOND);
    }
    assert_eq!(stage.outcomes(), (2_000, 500), "each has its outcome");
    assert!(stage.outbox.is_empty());
}

#[test]
fn one_goes_first_to_a_queue_and_a_bounded_number_once_that_is_confirmed() {
    let mut stage = Stage::new(&[]);
    stage.publish("q", 100);
    assert_eq!(stage.send(), (1, 0));
    stage.answer(true);
    assert_eq!(stage.send(), (SHARE, 0));
}

#[test]
fn what_holds_a_channel_up_is_the_oldest_on_it_and_the_others_go_on_over_another() {
    let mut stage = Stage::new(&["bad", "good"]);
    stage.publish("bad", 1);
    stage.publish("good", 2);
    assert_eq!(stage.send(), (2, 0), "one each");
    stage.pass(SILENT_AFTER);
    stage.silent = vec!["bad"];
    assert_eq!((stage.send(), stage.replaced), ((1, 0), 1), "the second of the good one, over another channel");
    stage.answer(true);
    stage.publish("bad", 1);
    assert_eq!(stage.send(), (0, 0), "one is there already");
    stage.pass(RENEWALS.first * 2);
    stage.publish("bad", 2);
    assert_eq!(stage.send(), (0, 1));
    stage.silent.clear();
    stage.answer(true);
    assert_eq!(stage.send(), (1, 0), "it is as good as any again");
}

#[test]
fn channels_are_given_up_ever_more_rarely_while_a_queue_stays_silent() {
    let mut stage = Stage::new(&["bad"]);
    for _ in 0..3_600 {
        stage.publish("bad", 1);
        stage.work();
        stage.pass(SECOND);
    }
    assert!((12..20).contains(&stage.replaced), "{} in an hour", stage.replaced);
}

#[test]
fn a_queue_that_refuses_goes_the_side_way_until_it_accepts() {
    let mut stage = Stage::new(&[]);
    stage.publish("q", 3);
    assert_eq!(stage.send(), (1, 0));
    stage.answer(false);
    assert_eq!(stage.send(), (0, 1));
    stage.answer(true);
    assert_eq!(stage.send(), (1, 0));
    stage.answer(true);
    assert_eq!(stage.outcomes(), (2, 1));
}

#[test]
fn what_an_earlier_channel_had_counts_no_more() {
    let mut stage = Stage::new(&["q"]);
    stage.publish("q", 3);
    assert_eq!(stage.send(), (1, 0));
    stage.outbox.begin_channel(Way::Main);
    assert_eq!(stage.send(), (1, 0));
    stage.silent.clear();
    stage.answer(true);
    assert_eq!((stage.send(), stage.outcomes()), ((1, 0), (2, 0)));
}

#[test]
fn a_main_channel_that_refuses_again_what_the_side_channel_takes_is_replaced_and_rarely() {
    let mut stage = Stage::new(&[]);
    for round in 0..20 {
        stage.publish("q", 2);
        assert_eq!(stage.send(), (1, 0), "round {round}");
        stage.answer(false);
        stage.pass(Duration::ZERO);
        assert_eq!(stage.replaced, usize::from(round > 0), "once is chance");
        assert_eq!(stage.send(), (0, 1), "round {round}");
        stage.answer(true);
    }
    assert_eq!(stage.outcomes(), (20, 20));
    stage.publish("q", 1_000);
    stage.work();
    assert_eq!((stage.outcomes(), stage.replaced), ((1_000, 0), 1), "where nothing is refused none is replaced");
}
