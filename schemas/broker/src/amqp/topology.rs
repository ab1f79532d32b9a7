//! What a task queue looks like on RabbitMQ.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};

use crate::{DELIVERY_LIMIT, DeadReason};

/// Where the dead letters of `queue` are kept.
pub(super) fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Declares `queue` and its dead letter queue, both as quorum queues.
pub(super) async fn declare(channel: &Channel, queue: &str) -> lapin::Result<()> {
    let dead = dead_letter_queue(queue);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };

    // First the place where dead letters go, so that none is dropped between the two calls.
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-queue-type", "quorum");
    channel.queue_declare(dead.as_str().into(), options, arguments).await?;

    let mut arguments = FieldTable::default();
    insert(&mut arguments, "x-queue-type", "quorum");
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::from(DELIVERY_LIMIT)));
    insert(&mut arguments, "x-dead-letter-exchange", "");
    insert(&mut arguments, "x-dead-letter-routing-key", &dead);
    // At-least-once dead lettering is only offered together with reject-publish.
    insert(&mut arguments, "x-dead-letter-strategy", "at-least-once");
    insert(&mut arguments, "x-overflow", "reject-publish");
    channel.queue_declare(queue.into(), options, arguments).await?;
    Ok(())
}

fn insert(arguments: &mut FieldTable, key: &str, value: &str) {
    arguments.insert(key.into(), AMQPValue::LongString(value.into()));
}

/// How often the message came back before this delivery: the broker sends the header only then.
pub(super) fn redeliveries(properties: &BasicProperties) -> u32 {
    let count = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("x-delivery-count"))
        .and_then(integer)
        .unwrap_or(0);
    u32::try_from(count).unwrap_or(if count < 0 { 0 } else { u32::MAX })
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortShortUInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortUInt(n) => Some(i64::from(*n)),
        AMQPValue::LongInt(n) => Some(i64::from(*n)),
        AMQPValue::LongUInt(n) => Some(i64::from(*n)),
        AMQPValue::LongLongInt(n) => Some(*n),
        _ => None,
    }
}

/// Why the broker moved a message to the dead letters: the newest entry of its death record.
pub(super) fn dead_reason(properties: &BasicProperties) -> DeadReason {
    let reason = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("x-death"))
        .and_then(AMQPValue::as_array)
        .and_then(|deaths| deaths.as_slice().first())
        .and_then(AMQPValue::as_field_table)
        .and_then(|death| death.inner().get("reason"))
        .and_then(AMQPValue::as_long_string)
        .map(ToString::to_string)
        .unwrap_or_default();
    match reason.as_str() {
        "rejected" => DeadReason::Rejected,
        "delivery_limit" => DeadReason::DeliveryLimit,
        _ => DeadReason::Other(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_counts_of_every_integer_type_are_read() {
        for value in
            [AMQPValue::LongLongInt(7), AMQPValue::ShortShortUInt(7), AMQPValue::LongInt(7)]
        {
            let mut headers = FieldTable::default();
            headers.insert("x-delivery-count".into(), value);
            assert_eq!(redeliveries(&BasicProperties::default().with_headers(headers)), 7);
        }
        assert_eq!(redeliveries(&BasicProperties::default()), 0);
    }
}
