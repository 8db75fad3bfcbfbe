//! The headers that Sluice itself puts on a message: every name, spelled here and nowhere else.

/// All of Sluice's headers begin so.
pub const PREFIX: &str = "x-sluice-";

/// On every copy that Sluice makes of a message: the routing key that its producer used.
pub const ROUTING_KEY: &str = "x-sluice-routing-key";
/// When Sluice first received the event.
pub const RECEIVED: &str = "x-sluice-received";
/// The first and the last attempts, as JSON.
pub const ATTEMPTS: &str = "x-sluice-attempts";
/// How many attempts between them were left out.
pub const ATTEMPTS_OMITTED: &str = "x-sluice-attempts-omitted";
/// How many attempts were spent.
pub const RETRIES: &str = "x-sluice-retries";
/// When the first of them was spent.
pub const FAILING_SINCE: &str = "x-sluice-failing-since";
/// When the event may be sent, as it was last put aside for it.
pub const DUE: &str = "x-sluice-due";
/// How often the event was replayed.
pub const REPLAYS: &str = "x-sluice-replays";
/// The vendor's number for the job that decides what becomes of the event. What else is told of a job begins with this name.
pub const JOB: &str = "x-sluice-job";
/// How many events the job holds.
pub const JOB_ROWS: &str = "x-sluice-job-rows";
/// When the vendor accepted the job.
pub const JOB_SINCE: &str = "x-sluice-job-since";

/// The producer's `CC`, which would route a copy to more queues.
pub const SET_ASIDE_CC: &str = "x-sluice-header-cc";
/// The producer's `BCC`, likewise.
pub const SET_ASIDE_BCC: &str = "x-sluice-header-bcc";
/// The producer's priority.
pub const SET_ASIDE_PRIORITY: &str = "x-sluice-property-priority";
/// The producer's expiration.
pub const SET_ASIDE_EXPIRATION: &str = "x-sluice-property-expiration";
/// The producer's user id.
pub const SET_ASIDE_USER_ID: &str = "x-sluice-property-user-id";
/// The producer's delivery mode, where it was not persistent.
pub const SET_ASIDE_DELIVERY_MODE: &str = "x-sluice-property-delivery-mode";
/// How many headers a copy had to leave out.
pub const HEADERS_DROPPED: &str = "x-sluice-headers-dropped";

/// On a dead letter: why it is one, from the closed list.
pub const REASON: &str = "x-sluice-reason";
/// The same as a sentence.
pub const SENTENCE: &str = "x-sluice-sentence";
/// The sentence without ids, numbers and addresses.
pub const CAUSE: &str = "x-sluice-cause";
/// A digest of reason and cause, equal for equal ones.
pub const FINGERPRINT: &str = "x-sluice-fingerprint";
/// Whose letter it is.
pub const DESTINATION: &str = "x-sluice-destination";
/// The event's id.
pub const EVENT_ID: &str = "x-sluice-event-id";
/// The event's type.
pub const EVENT_TYPE: &str = "x-sluice-event-type";
/// When it became a dead letter.
pub const DEAD_LETTERED_AT: &str = "x-sluice-dead-lettered-at";
/// Name and version of the worker that wrote it.
pub const WORKER: &str = "x-sluice-worker";
/// When its first request was sent.
pub const FIRST_ATTEMPT: &str = "x-sluice-first-attempt";
/// When its last request was sent.
pub const LAST_ATTEMPT: &str = "x-sluice-last-attempt";
/// The letter that it was made from by hand.
pub const EDITED_FROM: &str = "x-sluice-edited-from";
/// The letter that was made from it by hand.
pub const EDITED_TO: &str = "x-sluice-edited-to";
/// The expression that made it, by its digest: the same one does not change it twice.
pub const EDITED_BY: &str = "x-sluice-edited-by";
/// When it went to the trash.
pub const DISCARDED_AT: &str = "x-sluice-discarded-at";
/// Who put it there.
pub const DISCARDED_BY: &str = "x-sluice-discarded-by";

/// On a replayed message: the operation that replayed it.
pub const REPLAY: &str = "x-sluice-replay";
/// Beside it: the letter that it was.
pub const REPLAY_OF: &str = "x-sluice-replay-of";
/// Beside it: the queue where whoever replayed it waits for outcomes.
pub const REPLAY_TO: &str = "x-sluice-replay-to";
/// On a letter that died again: the operation that had replayed it.
pub const REPLAYED_BY: &str = "x-sluice-replayed-by";
/// Beside it: the letter that it was before.
pub const REPLAYED_FROM: &str = "x-sluice-replayed-from";

/// Set by the publisher, stripped at consumption: tells which publication a returned message was. The same for the same message to the
/// same place, so that one that is put back lies there as it lay before.
pub const PUBLISH: &str = "x-sluice-publish";
