//! The real jq on random data.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{INSTALL, ran, text};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/jq/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mapping/jq/conformance/real.py");
/// Random values for each program.
const VALUES: usize = 40;

const PROGRAMS: &[&str] = &[
    ".",
    ".a",
    ".a.b?",
    ".[0]",
    ".[-1]",
    ".[1:3]",
    ".[:-1]",
    ".[]",
    ".[]?",
    "..",
    "[..]",
    "keys",
    "keys_unsorted",
    "length",
    "add",
    "to_entries",
    "with_entries(.value |= [.])",
    "from_entries",
    "map_values(.)",
    "map_values(empty)",
    "map(.)",
    "sort",
    "unique",
    "group_by(.)",
    "group_by(type)",
    "min, max",
    "min_by(.a?), max_by(.a?)",
    "reverse",
    "flatten",
    "flatten(1)",
    "tojson",
    "tostring",
    "tonumber",
    "type",
    "not",
    "join(\",\")",
    "join(\", \")",
    "ascii_downcase",
    "ascii_upcase",
    "explode",
    "explode | implode",
    "@text",
    "@json",
    "@csv",
    "@tsv",
    "@html",
    "@uri",
    "@sh",
    "@base64",
    "@base64 | @base64d",
    "tojson | fromjson",
    "[paths]",
    "[paths(type == \"number\")]",
    "tostream",
    "[tostream] | fromstream(.[])",
    "del(.[0])",
    "del(.[0,2])",
    "del(.[1:])",
    "del(.a)",
    "del(.a, .b)",
    "del(.[]?)",
    "del(..|select(. == null)?)",
    "to_entries | map(.key)",
    ".a = 1",
    ".[1] = 9",
    ".a.b |= 3",
    ".[]? |= [.]",
    ".a += 1",
    ".[2:3] = [7]",
    "(.a, .b) = (1, 2)",
    ".a //= 5",
    "has(\"a\")",
    "has(0)",
    "contains(\"a\")",
    "contains([1])",
    "inside([1, 2])",
    "index(\"a\")",
    "indices(1)",
    "indices(\", \")",
    "startswith(\"a\")",
    "ltrimstr(\"a\")",
    "rtrimstr(\"a\")",
    "split(\",\")",
    "split(\", *\"; null)",
    "test(\"a\")",
    "[match(\"[a-c]+\"; \"g\")]",
    "sub(\"a\"; \"b\")",
    "gsub(\"[a-c]\"; \"-\")",
    "[scan(\"[a-z]\")]",
    "capture(\"(?<x>[a-c])\")",
    "floor, sqrt",
    "round, ceil, fabs",
    ". + 1",
    "1 - .",
    ". * 2",
    ". * 3",
    ". / 2",
    ". % 3",
    "5 % .",
    "1 / .",
    "-(.)",
    ". + .",
    ". - .",
    ". == .",
    ". < 1",
    "[., 1] | sort",
    "[.[]? | tostring]",
    "[.[]? | numbers] | add",
    "map(select(type == \"number\")) | add / length",
    "any, all",
    "first, last",
    "[limit(2; .[]?)]",
    "[first(.[]?)]",
    "isempty(.[]?)",
    "transpose",
    "[combinations]",
    "walk(if type == \"number\" then . + 1 else . end)",
    "getpath([\"a\", \"b\"])",
    "getpath([0, \"a\"])",
    "[splits(\",\")]",
    "utf8bytelength",
    ".[1.7]",
    ".[1.2:3.5]",
    "todate",
    "gmtime",
    "gmtime | mktime",
    "fromdate",
    ". as [$x, $y] | [$y, $x]",
    ". as {a: $x} ?// [$x] | $x",
    "reduce .[]? as $x (0; . + 1)",
    "[foreach .[]? as $x (0; . + 1; [., $x])]",
    "if . then 1 else 2 end",
    ".a // .b // 3",
    "[.[]? // 1]",
    "try error catch .",
    "[.[]? | try tonumber catch \"no\"]",
    "\"\\(.) and \\(.)\"",
    "{a: ., b: 1} | keys",
    "{(.[]?): 1}",
    "{\"z\": 1, \"a\": .} | tojson",
    "pick(.a)",
    "pick(.[1])",
    "INDEX(type)",
    "IN(1, 2)",
    "bsearch(1)",
    "abs",
    "@uri \"x=\\(.)\"",
    "ltrimstr(1)",
    "tojson | length",
    "[range(length)]",
    "implode",
    "splits(\"a\")",
    ". * {}",
    "{a: {b: 1}} * .",
    "delpaths([[\"a\"], [0]])",
    "setpath([\"a\"]; 1)",
    "setpath([0]; 1)",
    "limit(1; .[]?)",
    "until(true; .)",
    "[while(false; .)]",
    "[recurse]",
];

fn any_json() -> impl Strategy<Value = Value> {
    let number = prop_oneof![-20_i64..20, any::<i32>().prop_map(i64::from)];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number.prop_map(Value::from),
        (-2000_i32..2000).prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "[a-d, ]{0,8}".prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
        prop_oneof!["[0-9]{1,5}", "2024-0[1-9]-1[0-9]T1[0-9]:20:3[0-9]Z"].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|key|name|value", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().rev().collect())),
        ]
    })
}

/// What the real jq gives: the outputs as text, or none for an error.
fn real(questions: &[(&str, String)]) -> Vec<Option<Vec<String>>> {
    let mut process =
        Command::new(PYTHON).arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(INSTALL);
    let asked = serde_json::to_vec(&json!(questions)).unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&asked));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_real_jq_gives_the_same_on_random_data() {
    let mut runner = TestRunner::deterministic();
    let strategy = any_json();
    let questions: Vec<(&str, String)> = PROGRAMS
        .iter()
        .flat_map(|program| std::iter::repeat_n(*program, VALUES))
        .map(|program| (program, strategy.new_tree(&mut runner).unwrap().current().to_string()))
        .collect();
    let answers = real(&questions);
    assert_eq!(answers.len(), questions.len(), "the real jq ended early, at {:?}", questions.get(answers.len()));
    let mut wrong = Vec::new();
    for ((program, input), expected) in questions.iter().zip(answers) {
        let given = match ran(program, input) {
            Ok((given, None)) => Some(given.iter().map(text).collect::<Vec<_>>()),
            Ok((_, Some(_))) | Err(_) => None,
        };
        if given != expected {
            wrong.push(format!("{input} | {program}\n  jq:   {expected:?}\n  here: {given:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), questions.len(), wrong.join("\n"));
}
