"""Publishes to an exchange that is not there, which is refused, then to one that is, with one publisher of docs/examples."""

import os
import sys
from pathlib import Path

from pika.exceptions import ChannelClosedByBroker

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/examples"))

from publish import Publisher  # noqa: E402

event = {
    "id": "one",
    "source": "/shop",
    "type": "order.paid",
    "time": "2026-01-02T03:04:05Z",
    "data": {"order": {"number": "A-17", "customer": "u-1", "total": 1}},
}
publisher = Publisher(os.environ["AMQP_URL"], "no-such-exchange")
try:
    publisher.publish(event)
    sys.exit("it was not refused")
except ChannelClosedByBroker:
    publisher.exchange = os.environ["SLUICE_EXCHANGE"]
publisher.publish(event)
print(event["id"])
