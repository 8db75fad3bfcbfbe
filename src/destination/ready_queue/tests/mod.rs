//! The line: nothing is lost or doubled, and ordering keys keep their order, whatever happens.

mod plain;
mod same;

use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::broker::port::{Delivery, Ticket};
use crate::class::Class;
use crate::destination::check::Odd;
use crate::destination::settler::Tag;
use crate::gate::Free;
use crate::message::Message;
use crate::record::history::History;
use crate::vendors::{Item, When};

const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

fn event(tag: u64, ordering_key: Option<u8>, replay: bool) -> Held {
    let epoch = CancellationToken::new();
    // Nothing is settled here, and nothing says so.
    epoch.cancel();
    event_of(epoch, tag, ordering_key, replay)
}

fn event_of(epoch: CancellationToken, tag: u64, ordering_key: Option<u8>, replay: bool) -> Held {
    let ticket = Ticket::new(tag, epoch, mpsc::unbounded_channel().0);
    let routing_key = String::new();
    let history = History::new("a", NOW);
    Box::new(Pending {
        delivery: Delivery {
            message: Message::default(),
            class: Class::Live,
            routing_key,
            redelivered: false,
            returns: 0,
            ticket,
        },
        tag: Tag::unchecked(&Message::default(), &history),
        history,
        item: Item { ordering_key: ordering_key.map(|ordering_key| ordering_key.to_string()), ..Item::default() },
        trace: None,
        taken: crate::clock::now(),
        replay,
        token_refused: false,
        troubles: 0,
        key: tag,
        refused: false,
        failed: false,
        odd: Odd::default(),
        expires: None,
        people: None,
        rests_until: None,
    })
}

fn tags<'a>(events: impl IntoIterator<Item = &'a Held>) -> Vec<u64> {
    events.into_iter().map(|event| event.delivery.ticket.tag()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Push(Option<u8>, bool),
    Take { together: bool },
    PutBack,
    SendBehind,
    Split,
    Done,
    Beyond(usize),
    RemoveEvery(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::option::of(0u8..2), any::<bool>()).prop_map(|(ordering_key, replay)| Step::Push(ordering_key, replay)),
        4 => any::<bool>().prop_map(|together| Step::Take { together }),
        2 => Just(Step::PutBack),
        1 => Just(Step::SendBehind),
        1 => Just(Step::Split),
        1 => Just(Step::Done),
        1 => (0usize..9).prop_map(Step::Beyond),
        1 => (2u64..7).prop_map(Step::RemoveEvery),
    ]
}

/// A line and the batches that were taken out of it.
#[derive(Default)]
struct Model {
    line: ReadyQueue,
    out: Vec<Batch>,
    pushed: u64,
    gone: Vec<u64>,
}

impl Model {
    fn take(&mut self, together: bool) {
        let busy: Vec<String> = self.out.iter().filter_map(|batch| batch.ordering_key().map(str::to_owned)).collect();
        let free =
            |ordering_key: &str| if busy.iter().any(|busy| busy == ordering_key) { Free::Busy } else { Free::Now };
        let now = crate::clock::now();
        if let Ready::Now(place) = self.line.next(Pick::First, now, free) {
            let batching = Batching { items: 3, bytes: usize::MAX, when: When::Always };
            self.out.extend(self.line.take(place, &batching, together.then_some(now)));
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(ordering_key, replay) => {
                self.line.push(event(self.pushed, *ordering_key, *replay));
                self.pushed += 1;
            }
            Step::Take { together } => self.take(*together),
            Step::Beyond(_) | Step::RemoveEvery(_) if self.out.iter().any(|batch| batch.ordering_key().is_some()) => {}
            Step::Beyond(keeps) => self.gone.extend(tags(&self.line.beyond(*keeps))),
            Step::RemoveEvery(nth) => {
                let removed = self.line.remove_if(|event| event.delivery.ticket.tag() % nth == 0);
                self.gone.extend(tags(&removed));
            }
            Step::PutBack | Step::SendBehind | Step::Split | Step::Done if self.out.is_empty() => {}
            Step::PutBack => self.line.put_back(self.out.remove(0)),
            Step::SendBehind => self.line.send_behind(self.out.remove(0)),
            Step::Split => {
                let batch = self.out.remove(0);
                if batch.events.len() > 1 {
                    self.line.split(batch, Arc::new(AtomicU32::new(9)));
                } else {
                    self.line.put_back(batch);
                }
            }
            Step::Done => self.gone.extend(tags(&self.out.remove(0).events)),
        }
    }

    fn waiting(&self) -> impl Iterator<Item = &Held> {
        self.line.events()
    }

    fn check(&self) {
        let mut all = tags(self.out.iter().flat_map(|batch| &batch.events).chain(self.waiting()));
        assert_eq!(self.waiting().count(), self.line.len());
        all.extend(&self.gone);
        all.sort_unstable();
        assert_eq!(all, (0..self.pushed).collect::<Vec<_>>(), "one was lost or doubled");
        for ordering_key in ["0", "1"] {
            let of_ordering_key = |event: &&Held| event.item.ordering_key.as_deref() == Some(ordering_key);
            let out = self.out.iter().flat_map(|batch| &batch.events);
            let order = tags(out.chain(self.waiting()).filter(of_ordering_key));
            assert!(order.is_sorted(), "ordering key {ordering_key}: {order:?}");
        }
        for (place, event) in &self.line.singles {
            assert!(event.replay == place.is_replayed() || event.item.ordering_key.is_some());
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_ordering_keys_keep_their_order_and_live_events_go_first(
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let mut model = Model::default();
        for step in &steps {
            model.step(step);
            model.check();
        }
    }
}

#[test]
fn whether_a_vendor_is_still_in_trouble_is_asked_with_what_met_with_the_least() {
    let mut line = ReadyQueue::default();
    for (tag, ordering_key, troubles) in [(0, None, 2), (1, None, 1), (2, Some(1), 3), (3, Some(1), 0), (4, None, 1)] {
        line.push(Box::new(Pending { troubles, ..*event(tag, ordering_key, false) }));
    }
    let now = crate::clock::now();
    let next = |line: &mut ReadyQueue, wanted: Pick| match line.next(wanted, now, |_| Free::Now) {
        Ready::Now(place) => tags(line.event(place)),
        Ready::At(_) | Ready::Nothing => Vec::new(),
    };
    assert_eq!(next(&mut line, Pick::First), [0]);
    assert_eq!(next(&mut line, Pick::Probe), [1], "and nothing overtakes among events of its ordering key");
    line.push(event(5, Some(2), false));
    assert_eq!(next(&mut line, Pick::Probe), [5]);
    assert_eq!(tags(&line.beyond(2)), [1, 2, 3, 4], "what met with no trouble is kept");
}

#[test]
fn what_is_given_back_takes_those_behind_it_in_its_ordering_key_along() {
    let mut line = ReadyQueue::default();
    for (tag, ordering_key) in [(0, Some(1)), (1, Some(2)), (2, None), (3, Some(1)), (4, Some(2))] {
        line.push(event(tag, ordering_key, tag == 0));
    }
    assert_eq!(tags(&line.remove_if(|event| event.delivery.ticket.tag() == 0)), [0, 3]);
    assert_eq!(line.len(), 3);
    assert!(line.remove_if(|_| false).is_empty());
}

#[test]
fn nothing_overtakes_what_rests_in_its_ordering_key() {
    let (mut line, now) = (ReadyQueue::default(), crate::clock::now());
    line.push(event(0, Some(1), false));
    line.push(Box::new(Pending {
        rests_until: Some(now + std::time::Duration::from_secs(1)),
        ..*event(1, Some(1), false)
    }));
    line.push(event(2, Some(1), false));
    let Ready::Now(place) = line.next(Pick::First, now, |_| Free::Now) else { panic!("nothing may go") };
    let batching = Batching { items: 3, bytes: usize::MAX, when: When::Always };
    assert_eq!(tags(&line.take(place, &batching, Some(now)).unwrap().events), [0]);
}

#[test]
fn a_blocked_ordering_key_is_asked_about_once_until_it_may_have_changed() {
    let (mut line, now) = (ReadyQueue::default(), crate::clock::now());
    (0..100).for_each(|tag| line.push(event(tag, Some(u8::try_from(tag).unwrap()), false)));
    let asked = std::cell::Cell::new(0);
    let next = |line: &mut ReadyQueue, now, free: Free| {
        asked.set(0);
        let ready = line.next(Pick::First, now, |_| {
            asked.set(asked.get() + 1);
            free
        });
        (ready, asked.get())
    };
    let later = now + std::time::Duration::from_secs(1);
    assert_eq!(next(&mut line, now, Free::At(later)), (Ready::At(later), 100));
    assert_eq!(next(&mut line, now, Free::Now), (Ready::At(later), 0), "its time has not come");
    assert_eq!(next(&mut line, later, Free::Busy), (Ready::Nothing, 100));
    assert_eq!(next(&mut line, later, Free::Now), (Ready::Nothing, 0));
    line.look_at_key("7");
    let (ready, asked) = next(&mut line, later, Free::Now);
    assert!(asked == 1 && matches!(ready, Ready::Now(place) if tags(line.event(place)) == [7]), "{ready:?}");
}
