#!/usr/bin/env bash
# The demo's producer: six events a second of four types, for ever, until it is told to stop.
set -euo pipefail

events() {
    local run n=0 now
    run=$(date +%s)
    while :; do
        now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
        n=$((n + 1))
        event product.report.exported "{\"user\":{\"id\":\"user-$((n % 40))\"},\"plan\":\"gold\",\"seats\":$((n % 9 + 1))}"
        event product.report.opened "{\"user\":{\"id\":\"user-$((n % 25))\"},\"plan\":\"free\",\"seats\":1}"
        event shop.purchase "{\"customer\":\"shopper$((n % 12))@example.com\",\"order\":\"$run-$n\",\"amount\":$((n % 90 + 9)).5}"
        event webinar.attended "{\"person\":{\"email\":\"guest$((n % 300))@example.com\"},\"webinar\":\"Growth\"}"
        event order.paid "{\"order\":\"$run-$n\",\"total\":$((n % 50 + 1)).9,\"currency\":\"EUR\"}"
        event order.shipped "{\"order\":\"$run-$n\",\"total\":$((n % 50 + 1)).9,\"currency\":\"EUR\"}"
        sleep 1
    done
}

# A CloudEvents envelope with an id that never came before.
event() {
    printf '{"specversion":"1.0","id":"%s-%s-%s","source":"/demo","type":"%s","time":"%s","data":%s}\n' \
        "$run" "$n" "$1" "$1" "$now" "$2"
}

# Sluice takes the place of this shell, so that it is the one who is told to stop.
exec sluice publish - < <(events)
