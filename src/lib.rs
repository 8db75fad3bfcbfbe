//! Sluice lets queued events through to marketing and customer-success vendors exactly as fast as each vendor allows.
//!
//! # The path of an event
//!
//! A producer publishes to the exchange `sluice.events`; the broker puts the message into the queue of each destination that
//! subscribes ([`broker`] declares them). Each destination has one task, which moves all its events (`destination/pipeline.rs`, whose
//! loop reads like this list):
//!
//! 1. **Intake** (`destination/intake.rs`): the consumer hands a delivery over. How many it may hold is `destination/prefetch.rs`'s matter.
//! 2. **Check** (`destination/check.rs`): [`event`] decodes the message, [`record`] reads what happened to it before, [`mapping`] makes the
//!    vendor's fields, and the vendor ([`vendors`]) prepares its part of a request. What cannot be sent is a dead letter; it costs no request.
//! 3. **Wait for the gate** (`destination/dispatch.rs`): the event stands in the ready queue, behind others of its ordering key. The [`gate`]
//!    gives places: quota windows, the day's budget, what the vendor's refusals taught, requests in flight; closed, it lets one probe through.
//! 4. **Send** (`destination/send.rs`): one request with one event or a batch, with an access token where there is one ([`delivery`]).
//!    Requests for tokens, lookups and jobs take places of the same gate.
//! 5. **Judge** (`destination/judge.rs`): the vendor's folder reads the answer as a [`verdict::Verdict`]; the gate hears an
//!    [`gate::Answer`]; `destination/rule.rs` says what becomes of the event.
//! 6. **Settle** (`destination/settlements.rs`): delivered is acked; what can succeed later is copied to a retry queue, what needs a person to
//!    the dead letters; the copy is confirmed before the original is acked. Else the event waits for the gate again.
//!
//! [`metrics`], [`log`], [`receipts`], [`history`] and [`traces`] tell of each step.
//!
//! # The path of a dead letter
//!
//! A dead letter is the message as it was published, with headers that say why it died and what was tried ([`record`]).
//! [`dead_letters::look`] shows letters, [`dead_letters::groups`] those of one cause, for the command line, the API and the console alike. A
//! replay or a discard is an operation ([`dead_letters::operation`]): one reader at a time holds the read lock of that queue, takes the letters
//! that the filter names, publishes a copy of each, waits for its confirm, and only then acks the letter. A replayed copy goes the path of
//! an event, below live traffic; its outcome comes back to the operation. [`audit`] keeps who did what.
//!
//! # The path of an operator's act
//!
//! `sluice pause`, a click in the console and a call of the API make the same [`control::Command`]. It goes through the broker to every worker
//! ([`control`]); each carries it out where it drives the destination ([`operator`]), the latest stamp wins, and each answers. The destination's task
//! takes it between two events (`destination/handle.rs`). [`admin`] and [`cli`] show what the destination tells of itself.
//!
//! [`app`] starts all of this, [`fleet`] keeps the destinations at work over a reload, [`watch`] reads depths and declares again what was deleted at the broker,
//! and [`issues`] finds what needs a person.

pub mod admin;
pub mod app;
pub mod audit;
pub mod backoff;
pub mod broker;
pub mod class;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dead_letters;
pub mod delivery;
pub mod demo;
pub mod destination;
pub mod event;
pub mod explain;
pub mod find;
pub mod fleet;
pub mod gate;
pub mod history;
pub mod ingest;
pub mod issues;
pub mod lease;
pub mod lint;
pub mod log;
pub mod mapping;
pub mod message;
pub mod metrics;
pub mod operator;
pub mod people;
pub mod person;
pub mod receipts;
pub mod record;
pub mod redact;
pub mod routing;
pub mod sandbox;
pub mod seal;
pub mod section;
pub mod serving;
pub mod supervisor;
pub mod suppression;
pub mod threads;
pub mod traces;
pub mod unrouted;
pub mod vendors;
pub mod verdict;
pub mod waiting;
pub mod watch;
pub mod words;
