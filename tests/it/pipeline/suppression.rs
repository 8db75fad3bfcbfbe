//! Events about people who must not be written to end without a request, wherever they wait when that is said.

use sluice::clock;
use sluice::control::stamp::Change;
use sluice::destination::Handover;
use sluice::message::Message;
use sluice::person::PersonKey;
use sluice::record::replay::ReplayOutcome;
use sluice::suppression::{Act, Suppressed, SuppressionChange};
use sluice::vendors::When;

use super::account::{Account, well};
use super::broker::replay;
use super::vendor::Answer;
use super::{Stage, message, pass, seconds};

const PERSON: &str = "person = { jq = \".user\" }";

/// An event of somebody.
fn about(event: u64, person: &str) -> Message {
    Message { body: format!("{{\"event\":{event},\"user\":\"{person}\"}}").into(), ..message(event, true) }
}

/// A list that is known, with nobody on it.
fn list() -> Suppressed {
    let list = Suppressed::new(PersonKey::new("a secret of thirty-two bytes, or more"));
    list.caught_up();
    list
}

fn say(list: &Suppressed, act: Act, person: &str) {
    let people = list.key().digest(person).into_iter().collect();
    let (by, note) = ("ann".to_owned(), String::new());
    list.apply(&SuppressionChange { act, key: list.key().id(), at: clock::wall(), by, note, people });
}

/// A stage whose worker heeds the list.
fn stage(lines: &str) -> (Stage, Suppressed) {
    heeding(Stage::idle(&format!("{lines}\n{PERSON}")))
}

fn heeding(mut stage: Stage) -> (Stage, Suppressed) {
    let list = list();
    stage.suppressed = Some(list.clone());
    stage.start(&Handover::default());
    (stage, list)
}

fn suppressed(stage: &Stage) -> u64 {
    stage.metrics.suppressed_total.with_label_values(&["hook"]).get()
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_person_end_without_a_request_and_without_a_letter() {
    let (stage, list) = stage("limits = [\"100/s\"]");
    say(&list, Act::Add, "Ann@Example.com ");
    stage.broker.put("shop.order", about(1, "ann@example.com"));
    stage.broker.put("shop.order", about(2, "bob@example.com"));
    // It says nothing of a person.
    stage.publish(3..4);
    stage.drained().await;
    assert!(stage.vendor.took_each_once([2, 3]), "{:?}", stage.vendor.deliveries());
    assert_eq!((stage.vendor.count(), suppressed(&stage), stage.broker.dead().len()), (2, 1, 0));
    say(&list, Act::Remove, "ann@example.com");
    stage.broker.put("shop.order", about(4, "ann@example.com"));
    stage.drained().await;
    assert!(stage.vendor.took_each_once([2, 3, 4]));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_gate_ends_once_its_person_is_suppressed_and_takes_no_place() {
    let (stage, list) = stage("limits = [\"10/s\"]");
    (0..2_000)
        .for_each(|event| stage.broker.put("shop.order", about(event, if event % 2 == 0 { "ann" } else { "bob" })));
    pass(seconds(10)).await;
    let before = stage.vendor.count();
    say(&list, Act::Add, "ann");
    let said = stage.vendor.now();
    pass(seconds(60)).await;
    let later: Vec<u64> =
        stage.vendor.calls().into_iter().filter(|(call, _)| call.at > said).flat_map(|(call, _)| call.events).collect();
    assert!(later.iter().all(|event| event % 2 == 1), "{later:?}");
    assert!(later.len() >= 580, "the others have all of the pace: {} after {before}", later.len());
}

#[tokio::test(start_paused = true)]
async fn what_was_paused_or_waits_for_its_retry_ends_as_well() {
    let (stage, list) = stage("limits = [\"100/s\"]\nretry = { delays = [\"5s\"], max_age = \"1h\" }");
    stage.vendor.behave(|call| Answer::Status(if call.event == 1 { 500 } else { 201 }));
    stage.broker.put("shop.order", about(0, "bob"));
    stage.broker.put("shop.order", about(1, "ann"));
    stage.broker.put("shop.order", about(2, "bob"));
    pass(seconds(3)).await;
    stage.change(Change::PAUSE).await;
    stage.broker.put("shop.order", about(3, "ann"));
    pass(seconds(60)).await;
    let calls = stage.vendor.calls_for(1).len();
    say(&list, Act::Add, "ann");
    stage.vendor.behave(|_| Answer::Status(201));
    stage.change(Change::Resume).await;
    stage.drained().await;
    assert_eq!((stage.vendor.calls_for(1).len(), stage.vendor.calls_for(3).len(), suppressed(&stage)), (calls, 0, 2));
    assert_eq!(stage.broker.dead().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replayed_letter_ends_too_and_whoever_replayed_it_is_told() {
    let (stage, list) = stage("limits = [\"100/s\"]");
    say(&list, Act::Add, "ann");
    stage.broker.listen();
    stage.broker.put("sluice.hook", replay(7, about(7, "ann")));
    stage.drained().await;
    pass(seconds(1)).await;
    let told: Vec<ReplayOutcome> = stage.broker.told().iter().map(|notice| notice.outcome).collect();
    assert_eq!((told, stage.vendor.count()), (vec![ReplayOutcome::Suppressed], 0));
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_that_persons_events_are_left_out() {
    let account = Account::PLAIN.batches(100, usize::MAX, When::Always);
    let (stage, list) = heeding(account.idle(&format!("limits = [\"1/s\"]\n{PERSON}")));
    stage.vendor.behave(well);
    stage.change(Change::PAUSE).await;
    (0..300).for_each(|event| stage.broker.put("shop.order", about(event, if event % 3 == 0 { "ann" } else { "bob" })));
    pass(seconds(5)).await;
    stage.change(Change::Resume).await;
    pass(seconds(1)).await;
    say(&list, Act::Add, "ann");
    let said = stage.vendor.now();
    stage.drained().await;
    let late = |event: u64| stage.vendor.calls_for(event).iter().any(|call| call.at > said);
    assert!((0..300).filter(|event| event % 3 == 0).all(|event| !late(event)));
    assert!(stage.vendor.took_each_once((0..300).filter(|event| event % 3 != 0)));
    assert!(suppressed(&stage) > 0);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_not_known_who_is_suppressed_nothing_is_sent() {
    let mut stage = Stage::idle(&format!("limits = [\"100/s\"]\n{PERSON}"));
    let list = Suppressed::new(PersonKey::new("a secret of thirty-two bytes, or more"));
    stage.suppressed = Some(list.clone());
    stage.start(&Handover::default());
    stage.broker.put("shop.order", about(1, "ann"));
    stage.broker.put("shop.order", about(2, "bob"));
    pass(seconds(60)).await;
    let view = stage.view().await;
    assert_eq!((stage.vendor.count(), view.ready, view.machine.is_some()), (0, false, true), "{view:?}");
    say(&list, Act::Add, "ann");
    pass(seconds(60)).await;
    assert_eq!(stage.vendor.count(), 0);
    list.caught_up();
    stage.drained().await;
    assert!(stage.vendor.took_each_once([2]) && stage.vendor.count() == 1);
    list.fell_behind("the connection is lost");
    stage.broker.put("shop.order", about(3, "bob"));
    pass(seconds(60)).await;
    assert_eq!(stage.vendor.count(), 1);
    list.caught_up();
    stage.drained().await;
    assert!(stage.vendor.took_each_once([2, 3]) && stage.view().await.machine.is_none());
}

#[tokio::test(start_paused = true)]
async fn bulk_events_of_a_person_end_too_and_none_is_taken_before_it_is_known_who_that_is() {
    let mut stage = Stage::idle(&format!("limits = [\"100/s\"]\n{PERSON}"));
    let list = Suppressed::new(PersonKey::new("a secret of thirty-two bytes, or more"));
    stage.suppressed = Some(list.clone());
    stage.start(&Handover::default());
    stage.broker.put_bulk("shop.import", about(1, "ann"));
    stage.broker.put_bulk("shop.import", about(2, "bob"));
    stage.tell_that_bulk_waits().await;
    pass(seconds(60)).await;
    assert_eq!((stage.vendor.count(), stage.broker.bulk_ready()), (0, 2));
    say(&list, Act::Add, "ann");
    list.caught_up();
    pass(seconds(10)).await;
    assert_eq!((stage.vendor.deliveries(), suppressed(&stage)), (vec![2], 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_which_it_cannot_be_told_whom_it_is_about_is_not_sent() {
    let (stage, list) = stage("limits = [\"100/s\"]\nmax_event_age = \"1h\"");
    say(&list, Act::Add, "ann");
    let body = |text: &str| Message { body: text.to_owned().into(), ..message(1, true) };
    stage.broker.put("shop.order", body("{\"event\":1,\"user\":{\"id\":\"ann\"}}"));
    stage.broker.put("shop.order", body("{\"event\":2,\"user\":[\"bob\",\"ann\"]}"));
    stage.drained().await;
    assert_eq!((stage.vendor.count(), suppressed(&stage), stage.broker.reasons()), (0, 1, vec!["invalid".to_owned()]));
}
