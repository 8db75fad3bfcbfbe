"""Publishes an event with every binding of the CloudEvents SDK that fits RabbitMQ. Prints the id of each, which names the binding."""

import os
from datetime import datetime, timezone

import pika
from cloudevents.core.bindings import amqp, http, kafka, rabbitmq
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import conversion
from cloudevents.v1 import kafka as v1_kafka
from cloudevents.v1.http import CloudEvent as V1Event

DATA = {"order": {"number": "A-17", "total": 59.9}}
TIME = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=timezone.utc)
# As whoever uses a binding puts its message onto AMQP: body, content type and headers.
BINDINGS = {
    "amqp": (amqp, lambda m: (m.application_data, m.properties.get("content-type"), m.application_properties)),
    "rabbitmq": (rabbitmq, lambda m: (m.body, m.content_type, m.headers)),
    "http": (http, lambda m: (m.body, None, m.headers)),
    "kafka": (kafka, lambda m: (m.value, None, m.headers)),
}


def attributes(name, time, **more):
    return {"id": name, "source": "/shop", "type": "order.paid", "time": time, **more}


def messages():
    """Of each event its id (without a space, which the HTTP binding would encode), body, content type and headers."""
    more = {"datacontenttype": "application/json", "subject": "A-17", "partitionkey": "p"}
    native = {"datacontenttype": "application/json", "attempt": 3, "urgent": True, "other": b"bytes"}
    for binding, (module, parts) in BINDINGS.items():
        for write in (module.to_binary_event, module.to_structured_event):
            name = f"python/{binding}.{write.__name__}"
            with_more = native if (binding, write) == ("amqp", amqp.to_binary_event) else more
            yield name, *parts(write(CloudEvent(attributes(name, TIME, **with_more), DATA)))
            name += "/empty"
            yield name, *parts(write(CloudEvent(attributes(name, TIME))))
    for with_data in (DATA, None):
        end = "" if with_data else "/empty"
        for write in (conversion.to_binary, conversion.to_structured):
            name = f"python/v1.{write.__name__}{end}"
            headers, body = write(V1Event(attributes(name, TIME.isoformat()), with_data))
            yield name, body or b"", None, headers
        for write in (v1_kafka.to_binary, v1_kafka.to_structured):
            name = f"python/v1.kafka.{write.__name__}{end}"
            given = attributes(name, TIME.isoformat(), datacontenttype="application/json")
            message = write(V1Event(given, with_data))
            yield name, message.value, None, message.headers


with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    for name, body, content_type, headers in messages():
        properties = pika.BasicProperties(content_type=content_type, headers=headers)
        channel.basic_publish(os.environ["SLUICE_EXCHANGE"], "order.paid", body, properties, mandatory=True)
        print(name)
