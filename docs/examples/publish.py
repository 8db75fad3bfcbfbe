"""Publishes one event to Sluice with pika, in CloudEvents' binary form. Prints its id once the broker has it."""

import json
import logging
import os
import time
import uuid
from contextlib import closing
from datetime import datetime, timezone

import pika
from pika.exceptions import AMQPConnectionError, ConnectionBlockedTimeout, NackError

PAUSES = [0.2, 1, 5, 15]  # seconds between tries


class Publisher:
    """Keeps one connection, and opens a new one when it was lost. For one thread: give each thread a publisher of its own."""

    def __init__(self, url, exchange="sluice.events"):
        self.parameters = pika.URLParameters(url)
        # A broker that is out of memory or disk takes nothing more: an error is better than a wait without end.
        self.parameters.blocked_connection_timeout = 30
        self.exchange = exchange
        self.connection = self.channel = None

    def publish(self, event):
        """Returns once the broker has the event; raises when it has not after all tries."""
        for pause in [*PAUSES, None]:
            try:
                return self.try_once(event)
            except ConnectionBlockedTimeout:
                # The broker may still take what it was sent once it has room: a repetition would come twice.
                raise
            except (AMQPConnectionError, NackError, OSError) as error:
                # It may have arrived all the same, so it goes again as the same event: with the same id.
                if pause is None:
                    raise
                logging.warning("event %s: %r, trying again in %s s", event["id"], error, pause)
                time.sleep(pause)
            # Anything else is a mistake that no repetition fixes: no such exchange, no permission, no queue (UnroutableError).

    def try_once(self, event):
        if self.channel is None or not self.channel.is_open:
            self.close()  # a channel that was refused leaves its connection open
            self.connection = pika.BlockingConnection(self.parameters)
            self.channel = self.connection.channel()
            self.channel.confirm_delivery()  # from here on basic_publish waits for the broker's confirm
        attributes = {"specversion": "1.0", **{name: event[name] for name in ("id", "source", "type", "time")}}
        self.channel.basic_publish(
            exchange=self.exchange,
            routing_key=event["type"],
            body=json.dumps(event["data"]).encode(),
            properties=pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent,
                headers={f"cloudEvents:{name}": value for name, value in attributes.items()},
            ),
            mandatory=True,
        )

    def close(self):
        if self.connection is not None and self.connection.is_open:
            self.connection.close()


if __name__ == "__main__":
    paid = {
        "id": str(uuid.uuid4()),  # made once, where the thing happens, and kept with it
        "source": "/shop",
        "type": "order.paid",
        "time": datetime.now(timezone.utc).isoformat(),
        "data": {"order": {"number": "A-17", "customer": "u-1", "total": 59.9}},
    }
    with closing(Publisher(os.environ["AMQP_URL"], os.environ.get("SLUICE_EXCHANGE", "sluice.events"))) as publisher:
        publisher.publish(paid)
    print(paid["id"])
