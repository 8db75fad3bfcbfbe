use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Event;

fn event(data: &Value) -> Event {
    Event {
        id: "e-1".to_owned(),
        source: "shop".to_owned(),
        kind: "shop.order".to_owned(),
        time: jiff::Timestamp::UNIX_EPOCH,
        data: data.as_object().unwrap().clone(),
        raw: Bytes::from(data.to_string()),
        traceparent: None,
        mapped: false,
    }
}

fn evaluated(text: &str, data: &Value) -> Result<Option<Value>, String> {
    let event = event(data);
    Expression::compile(text).unwrap_or_else(|said| panic!("{text}: {said}")).evaluate(&Input::of(&event))
}

fn given(text: &str, data: &Value) -> Value {
    evaluated(text, data).unwrap_or_else(|said| panic!("{text}: {said}")).unwrap_or(Value::Null)
}

#[test]
fn zz_runaways() {
    for text in [
        "def f: f; f",
        "def f: 1 + f; f",
        "def f: [f]; f",
        "[repeat(1)]",
        "last(range(1e15))",
        "range(1e15) | empty",
        "reduce range(1e15) as $i (0; . + 1)",
        "until(false; .)",
        "\"x\" * 1000000000",
        "\"x\" * 1e18",
        "[range(1e9)]",
        "[recurse(.)]",
        "last(recurse([.]))",
        "[limit(1e9; repeat(0))]",
        "reduce range(100) as $i (\"x\"; . + .)",
        "reduce range(100) as $i ([0]; . + .)",
        "reduce range(60) as $i (1; [., .]) | tostring",
        "reduce range(60) as $i (1; [., .]) | [..] | length",
        "reduce range(60) as $i (1; [., .]) | [.. | select(. == 3)]",
        "reduce range(60) as $i (1; [., .]) == (reduce range(60) as $i (1; [., .]))",
        "reduce range(1e6) as $i (1; [.])",
        "def f(g): f(g + 1); f(1)",
        "def f(g): if g > 1e9 then g else f(g + 1) end; f(1)",
        "def f: ., (. + 1 | f); last(0 | f)",
        "def f: (f | .), 1; f",
        "[range(1e5) | tostring * 100]",
        "\"[\" * 100000 | fromjson",
        "def f(x): f(x | x); f(.)",
        "def f: f | f; f",
        "def f: try f catch f; f",
        "[range(300000)] | sort_by(-.) | group_by(. % 7) | length",
        "[range(50000)] | combinations(3)",
        "[range(1000)] | [combinations(2)] | length",
        "\"a\" * 200000 | test(\"(a+)+$\")",
        "\"a\" * 200000 + \"b\" | test(\"(a+)+$\")",
        "\"a\" * 100000 | [match(\"a*?\"; \"g\")] | length",
        "\"a\" * 100000 | gsub(\"a\"; \"aaaaaaaaaaaaaaaaaaaaa\")",
        "\"ab\" * 50000 | [scan(\"(a|b|ab)*c?\")] | length",
        "\"a\" * 100000 | [match(\"(a*)*b\"; \"g\")]",
        "{} | until(false; .a += 1)",
        "[limit(100000; repeat({a: 1}))] | map(.a) | add",
        "reduce range(1e9) as $i ({}; .[$i | tostring] = $i)",
        "reduce range(1e9) as $i ([]; .[0:0] = [$i])",
        "path(repeat(.a))",
        "[paths(..)] | length",
        "getpath([range(1e6) | \"a\"])",
        "setpath([range(1e6) | \"a\"]; 1)",
        "def f: reduce .[] as $x (.; f); [1] | f",
        "foreach range(1e15) as $i (0; . + $i; empty)",
        "label $l | def f: f; f",
        "first(repeat(empty))",
        "isempty(repeat(empty))",
        "any(repeat(0); . == 1)",
        "input_line_number?",
        "1e1000 * \"x\"",
        "[.[]?] | while(true; .)",
        "\"\\(def f: f; f)\"",
        "def f: .a |= f; f",
        "def f: (.[]? |= f); [[[]]] | f",
        "walk(walk(walk(walk(.))))",
        "[range(3000)] | walk(walk(.)) | length",
        "def f: def g: f; g | g; f",
        "$event | until(false; .)",
        "reduce range(1e6) as $x (.; .) |= 1",
        "(reduce range(1e6) as $x (.; .a)) |= 1",
        "limit(1e15; range(1e15))| empty",
        "nth(1e15; repeat(1))",
        "[splits(\"a\"; repeat(\"g\"))]",
        "[range(100000)] | implode | explode | implode | @base64 | @uri | @html | length",
        "reduce range(1e6) as $i (null; {next: ., item: $i})",
        "reduce range(20) as $i (\"x\"; @json) | length",
        "reduce range(100) as $i (\"\\\\\"; @json) | length",
        "2 | until(. > 1e308; . * .) | tostring",
        "[range(100000)] | . - . | length",
        "[range(20000)] | indices([5,6]) ",
        "[range(20000)] | . as $x | map(. as $i | $x | index($i)) | length",
        "[range(20000) | tostring] | contains([\"19999\"])",
        "[range(2000)] | contains([range(2000)])",
        "[range(20000)] | @csv | length",
        "ltrimstr(\"x\")",
        "[range(100000)]|transpose?",
        "[[range(100000)]]|transpose|length",
        "[range(60)] | to_entries | from_entries?",
        "[range(100000)] | min_by(.) , max_by(-.)",
        "[range(100000)]|unique|length",
        "[range(100000)] | flatten | length",
        "tojson|fromjson|tojson",
        "[1,[2,[3]]]|flatten(1e9)",
        "error(repeat(1))",
        "try error(\"x\") catch repeat(.)",
        "[.[]?//repeat(1)]",
        "first(range(1e15)|select(.<0))",
        "reduce range(100000) as $i ([]; . + [$i]) | length",
        "reduce range(100000) as $i (\"\"; . + \"x\") | length",
        "reduce range(100000) as $i ({}; .a += $i)",
        "reduce range(100000) as $i ({}; .[($i%100)|tostring] += 1) | length",
        "[range(30000)]|sort|length",
        "[range(30000)|{a:.,b:-.}]|sort_by(.b)|length",
        "range(1e15;0;-1)|select(.==3)|halt?",
    ] {
        let expression = match Expression::compile(text) {
            Ok(e) => e,
            Err(said) => {
                eprintln!("{text}  => COMPILE {said}");
                continue;
            }
        };
        let event = event(&json!({"a": {"b": [1, 2]}}));
        let begun = Instant::now();
        let got = expression.evaluate(&Input::of(&event));
        let mut shown = format!("{got:?}");
        shown.truncate(90);
        eprintln!("{:7.1} ms  {text}  => {shown}", begun.elapsed().as_secs_f64() * 1000.0);
    }
}
