"""Runs the real jq 1.7.1: a JSON array of [program, input] on standard input, one result a line: the outputs as JSON text, or null
for an error. What is written is the text that jq itself makes, by tojson."""

import json
import sys

import jq

for program, value in json.load(sys.stdin):
    try:
        outputs = jq.compile(f"[{program} | tojson]").input_text(value).first()
    except ValueError:
        outputs = None
    print(json.dumps(outputs))
