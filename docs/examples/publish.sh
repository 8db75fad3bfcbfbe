#!/bin/sh
# Publishes one event to Sluice with amqp-publish (Debian: amqp-tools), as a CloudEvents envelope. Prints its id.
#
# For cron jobs and trying out: the tool knows neither confirms nor mandatory. It fails where the broker cannot be reached or refuses
# the exchange; an event that the broker loses before it is on disk is lost unseen. `sluice publish` waits for the confirm.
set -eu

type=order.paid
id=$(cat /proc/sys/kernel/random/uuid)
time=$(date -u +%Y-%m-%dT%H:%M:%SZ)

amqp-publish --url="$AMQP_URL" --exchange="${SLUICE_EXCHANGE:-sluice.events}" --routing-key="$type" \
    --persistent --content-type=application/cloudevents+json --body='{
  "specversion": "1.0", "id": "'"$id"'", "source": "/shop", "type": "'"$type"'", "time": "'"$time"'",
  "data": {"order": {"number": "A-17", "customer": "u-1", "total": 59.9}}
}'
echo "$id"
