//! The queue gives the same answers as the plain one, whatever is done with both.

use std::collections::HashMap;
use std::time::Duration;

use super::plain::{PlainPlace, PlainQueue};
use super::*;

const BATCHING: Batching = Batching { items: 3, bytes: 40, when: When::Always };

#[derive(Clone, Copy, Debug)]
struct Coming {
    ordering_key: Option<u8>,
    group: u8,
    bytes: usize,
    replay: bool,
    troubles: u32,
}

/// What becomes of a batch that was out.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    PutBack,
    SendBehind,
    Split,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Coming),
    Take {
        wanted: Pick,
        together: bool,
    },
    /// The batch at that place of those that are out is answered; its ordering key rests for so long, its events too, some failed or refused.
    Answer {
        at: usize,
        answer: Answer,
        key_rests: u64,
        rests: u64,
        failed: bool,
        refused: bool,
    },
    Pass(u64),
    RestFailed(Option<u64>),
    TakeRefused,
    Beyond(usize),
    RemoveEvery(u64),
    TakeOutEvery(u64),
    RemoveFirst(u64),
    PopFirst,
    Pop,
    ChannelGoes,
}

fn coming() -> impl Strategy<Value = Coming> {
    let replay = prop::bool::weighted(0.3);
    let parts = (prop::option::weighted(0.7, 0u8..4), 0u8..2, 1usize..20, replay, 0u32..3);
    parts.prop_map(|(ordering_key, group, bytes, replay, troubles)| Coming {
        ordering_key,
        group,
        bytes,
        replay,
        troubles,
    })
}

fn answers() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Done), 2 => Just(Answer::PutBack), 1 => Just(Answer::SendBehind), 1 => Just(Answer::Split)
    ];
    let rests = || prop_oneof![2 => Just(0), 1 => 0u64..50];
    let parts = (0usize..9, answer, rests(), rests(), prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    parts.prop_map(|(at, answer, key_rests, rests, failed, refused)| Step::Answer {
        at,
        answer,
        key_rests,
        rests,
        failed,
        refused,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let pick = prop_oneof![
        6 => Just(Pick::First), 3 => Just(Pick::Replayed), 1 => Just(Pick::Others), 1 => Just(Pick::Probe)
    ];
    prop_oneof![
        12 => coming().prop_map(Step::Push),
        12 => (pick, any::<bool>()).prop_map(|(wanted, together)| Step::Take { wanted, together }),
        8 => answers(),
        2 => (0u64..40).prop_map(Step::Pass),
        1 => prop::option::of(0u64..50).prop_map(Step::RestFailed),
        1 => Just(Step::TakeRefused),
        1 => (0usize..9).prop_map(Step::Beyond),
        1 => (2u64..7).prop_map(Step::RemoveEvery),
        1 => (2u64..7).prop_map(Step::TakeOutEvery),
        1 => (1u64..4).prop_map(Step::RemoveFirst),
        1 => Just(Step::PopFirst),
        1 => Just(Step::Pop),
        1 => Just(Step::ChannelGoes),
    ]
}

/// Both queues, with what is out of each.
struct Both {
    queue: ReadyQueue,
    plain: PlainQueue,
    out: Vec<(Batch, Batch)>,
    /// Until when an ordering key may not send; none: until the answer.
    blocked: HashMap<String, Option<Instant>>,
    epoch: CancellationToken,
    now: Instant,
    pushed: u64,
}

impl Both {
    fn new() -> Self {
        Self {
            queue: ReadyQueue::default(),
            plain: PlainQueue::default(),
            out: Vec::new(),
            blocked: HashMap::new(),
            epoch: CancellationToken::new(),
            now: crate::clock::now(),
            pushed: 0,
        }
    }

    fn push(&mut self, coming: Coming) {
        let Coming { ordering_key, group, bytes, replay, troubles } = coming;
        let make = || {
            let mut event = event_of(self.epoch.clone(), self.pushed, ordering_key, replay);
            (event.item.group, event.item.content) = (group.to_string(), vec![b'x'; bytes].into());
            event.troubles = troubles;
            event
        };
        self.queue.push(make());
        self.plain.push(make());
        self.pushed += 1;
    }

    fn take(&mut self, wanted: Pick, together: bool) {
        let Self { queue, plain, blocked, now, .. } = self;
        let free = |ordering_key: &str| match blocked.get(ordering_key) {
            Some(None) => Free::Busy,
            Some(Some(until)) if *until > *now => Free::At(*until),
            Some(Some(_)) | None => Free::Now,
        };
        let (ready, expected) = (queue.next(wanted, *now, free), plain.next(wanted, *now, free));
        let (place, plain_place) = match (ready, expected) {
            (Ready::Now(place), Ready::Now(plain_place)) => (place, plain_place),
            // When something may be sent that is not replayed is told too.
            (Ready::At(_) | Ready::Nothing, Ready::At(_) | Ready::Nothing) if wanted == Pick::Replayed => return,
            (Ready::At(at), Ready::At(expected)) => return assert_eq!(at, expected),
            (Ready::Nothing, Ready::Nothing) => return,
            (ready, expected) => panic!("{wanted:?}: {ready:?}, and not {expected:?}"),
        };
        assert_eq!(tags(queue.event(place)), tags(plain.event(plain_place)));
        assert_eq!(matches!(place, QueuePlace::Part(_)), matches!(plain_place, PlainPlace::Part(_)));
        assert_eq!(place.is_replayed(), plain.is_replayed(plain_place));
        let (batch, expected) = if wanted == Pick::Probe {
            (queue.take_one(place), plain.take_one(plain_place))
        } else {
            let together = together.then_some(*now);
            (queue.take(place, &BATCHING, together), plain.take(plain_place, &BATCHING, together))
        };
        let (mut batch, mut expected) = (batch.unwrap(), expected.unwrap());
        assert_eq!(tags(&batch.events), tags(&expected.events));
        assert_eq!(batch.calls_left.is_some(), expected.calls_left.is_some());
        for batch in [&mut batch, &mut expected] {
            batch.events.retain(|event| event.delivery.ticket.is_live());
        }
        if batch.events.is_empty() {
            return;
        }
        blocked.extend(batch.ordering_key().map(|ordering_key| (ordering_key.to_owned(), None)));
        self.out.push((batch, expected));
    }

    fn answer(&mut self, at: usize, answer: Answer, key_rests: u64, change: impl Fn(&mut Pending)) {
        if self.out.is_empty() {
            return;
        }
        let (mut batch, mut expected) = self.out.remove(at % self.out.len());
        if let Some(ordering_key) = batch.ordering_key() {
            self.blocked.insert(ordering_key.to_owned(), Some(self.now + Duration::from_millis(key_rests)));
            self.queue.look_at_key(ordering_key);
        }
        batch.events.iter_mut().chain(&mut expected.events).for_each(|event| change(event));
        let Self { queue, plain, .. } = self;
        match answer {
            Answer::Done => {}
            Answer::Split if batch.events.len() > 1 => {
                queue.split(batch, Arc::new(AtomicU32::new(9)));
                plain.split(expected, Arc::new(AtomicU32::new(9)));
            }
            Answer::PutBack | Answer::Split => {
                queue.put_back(batch);
                plain.put_back(expected);
            }
            Answer::SendBehind => {
                queue.send_behind(batch);
                plain.send_behind(expected);
            }
        }
    }

    fn step(&mut self, step: Step) {
        let nth = |nth: u64| move |event: &Pending| event.delivery.ticket.tag().is_multiple_of(nth);
        let now = self.now;
        let after = |milliseconds: u64| now + Duration::from_millis(milliseconds);
        let Self { queue, plain, .. } = self;
        let (taken, expected) = match step {
            Step::Push(coming) => return self.push(coming),
            Step::Take { wanted, together } => return self.take(wanted, together),
            Step::Answer { at, answer, key_rests, rests, failed, refused } => {
                return self.answer(at, answer, key_rests, |event| {
                    event.rests_until = (rests > 0).then(|| after(rests));
                    (event.failed, event.refused) = (failed, refused && event.delivery.ticket.tag().is_multiple_of(2));
                    event.troubles += u32::from(failed);
                });
            }
            Step::Pass(milliseconds) => return self.now = after(milliseconds),
            Step::RestFailed(rests) => {
                queue.rest_failed(rests.map(after));
                return plain.rest_failed(rests.map(after));
            }
            Step::TakeRefused => return assert_eq!(shapes(&queue.take_refused()), shapes(&plain.take_refused())),
            Step::Beyond(keeps) => (queue.beyond(keeps), plain.beyond(keeps)),
            Step::RemoveEvery(every) => (queue.remove_if(nth(every)), plain.remove_if(nth(every))),
            Step::TakeOutEvery(every) => (queue.take_out(nth(every)), plain.take_out(nth(every))),
            Step::RemoveFirst(every) => (
                queue.remove_first_if(nth(every)).into_iter().collect(),
                plain.remove_first_if(nth(every)).into_iter().collect(),
            ),
            Step::PopFirst => (queue.pop_first().into_iter().collect(), plain.pop_first().into_iter().collect()),
            Step::Pop => (queue.pop().into_iter().collect(), plain.pop().into_iter().collect()),
            Step::ChannelGoes => {
                std::mem::take(&mut self.epoch).cancel();
                queue.forget_dead_parts();
                return plain.forget_dead_parts();
            }
        };
        assert_eq!(tags(&taken), tags(&expected));
    }

    fn check(&self) {
        let Self { queue, plain, .. } = self;
        assert_eq!(tags(queue.events()), tags(plain.events()));
        let parts = |parts: &mut dyn Iterator<Item = &Batch>| parts.map(|part| tags(&part.events)).collect::<Vec<_>>();
        assert_eq!(parts(&mut queue.parts.values()), parts(&mut plain.parts.iter()));
        assert_eq!((queue.len(), queue.is_empty()), (plain.len(), plain.is_empty()));
        assert_eq!(queue.has_replayed(), plain.has_replayed());
        assert_eq!((queue.failed(), queue.refused()), (plain.failed(), plain.refused()));
        assert_eq!(queue.oldest(), plain.oldest());
        let tag = |event: &Pending| event.delivery.ticket.tag();
        assert_eq!(queue.first().map(tag), plain.first().map(tag));
        let parts = queue.parts.iter().map(|(place, part)| (*place, part.ordering_key()));
        let singles = queue.singles.iter().map(|(place, event)| (*place, event.item.ordering_key.as_deref()));
        queue.heads.assert_of(parts.chain(singles));
    }
}

fn shapes(batches: &[Batch]) -> Vec<(Vec<u64>, bool)> {
    batches.iter().map(|batch| (tags(&batch.events), batch.calls_left.is_some())).collect()
}

proptest! {
    #[test]
    fn the_queue_gives_the_answers_of_the_plain_one(steps in prop::collection::vec(steps(), 1..120)) {
        let mut both = Both::new();
        for step in steps {
            both.step(step);
            both.check();
        }
        both.epoch.cancel();
    }
}
