"""Reads Sluice's receipts with pika, those of events that were not delivered, and prints each as a line."""

import json
import logging
import os
import time

import pika
from pika.exceptions import AMQPError

EXCHANGE = os.environ.get("SLUICE_RECEIPTS", "sluice.receipts")
QUEUE = os.environ.get("QUEUE", "shop.receipts")  # yours: name it after your service


def handle(receipt):
    """What your service does about it. A receipt may come twice, so this has to be as good the second time."""
    dead = receipt["data"]
    print(dead["event"]["id"], dead["destination"], dead["reason"], dead["sentence"], flush=True)


def on_message(channel, method, _properties, body):
    handle(json.loads(body))
    channel.basic_ack(method.delivery_tag)  # only now: what was not handled comes again


def consume(url):
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        # Outlives this program, and gives up the oldest receipts first should nobody read them.
        limits = {"x-queue-type": "quorum", "x-max-length": 100_000}
        channel.queue_declare(QUEUE, durable=True, arguments=limits)
        channel.queue_bind(QUEUE, EXCHANGE, routing_key="dead_lettered.#")
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume(QUEUE, on_message)
        channel.start_consuming()


if __name__ == "__main__":
    while True:
        try:
            consume(os.environ["AMQP_URL"])
        except (AMQPError, OSError) as error:
            logging.warning("%r, again in 2 s", error)
            time.sleep(2)
