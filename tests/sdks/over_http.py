"""Publishes events over HTTP with every form of the CloudEvents SDK. Prints the id of each, which names the form."""

import json
import os
from datetime import datetime, timezone
from http.client import HTTPConnection
from urllib.parse import urlsplit

from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1 import conversion
from cloudevents.v1.http import CloudEvent as V1Event

DATA = {"order": {"number": "A-17", "total": 59.9}}
TIME = datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=timezone.utc)
ADDRESS = urlsplit(os.environ["EVENTS_URL"])


def attributes(name, time, **more):
    return {"id": name, "source": "/shop", "type": "order.paid", "time": time, **more}


def post(headers, body, ids):
    connection = HTTPConnection(ADDRESS.netloc, timeout=30)
    connection.request("POST", ADDRESS.path, body or b"", headers)
    response = connection.getresponse()
    answer = response.read()
    assert response.status == 202, (response.status, answer)
    assert [(one["id"], one["published"]) for one in json.loads(answer)["results"]] == [(id, True) for id in ids]
    connection.close()
    print(*ids, sep="\n")


more = {"datacontenttype": "application/json", "subject": "A-17", "partitionkey": "p"}
for write in (http.to_binary_event, http.to_structured_event):
    # Spaces and quotes are percent-encoded in headers.
    name = f'python/"{write.__name__}" café'
    message = write(CloudEvent(attributes(name, TIME, **more), DATA))
    post(message.headers, message.body, [name])
    name = f"python/{write.__name__}/empty"
    message = write(CloudEvent(attributes(name, TIME)))
    post(message.headers, message.body, [name])
for write in (conversion.to_binary, conversion.to_structured):
    name = f"python/v1.{write.__name__}"
    headers, body = write(V1Event(attributes(name, TIME.isoformat()), DATA))
    post(headers, body, [name])
batch = [V1Event(attributes(f"python/batch.{n}", TIME.isoformat()), DATA) for n in range(3)]
body = json.dumps([json.loads(conversion.to_structured(event)[1]) for event in batch]).encode()
for kind in ("application/cloudevents-batch+json", "application/json; charset=utf-8"):
    post({"content-type": kind}, body, [event["id"] for event in batch])
