//! Arguments of queues and exchanges, as the broker is told them.

use lapin::types::{AMQPValue, FieldTable};

/// For queues whose messages go back time and again: RabbitMQ 4 would drop one after 20 returns. 3.10 refuses -1 ("none") and
/// 4.x reads no limit as 20, so a limit that is never reached is what means "none" to both, with one spelling.
pub(super) const NO_DELIVERY_LIMIT: (&str, AMQPValue) = ("x-delivery-limit", whole(1_000_000_000));

/// Those of a quorum queue, and these.
pub(super) fn quorum(more: &[(&str, AMQPValue)]) -> FieldTable {
    table(&[&[("x-queue-type", text("quorum"))][..], more].concat())
}

pub(super) fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// RabbitMQ 4.3 keeps a consumer's role and deliveries for it for so long when the node of its connection is gone (60 s unless said);
/// earlier versions give them to the next one at once and take no notice.
pub(super) const fn disconnected(milliseconds: i64) -> (&'static str, AMQPValue) {
    ("x-consumer-disconnected-timeout", whole(milliseconds))
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(super) const fn whole(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}
