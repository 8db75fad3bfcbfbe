//! Asks the real jq, in one process for all questions.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{INSTALL, ran, text};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/jq/bin/python");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mapping/jq/tests/real.py");

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

/// Both give the same for each program and input.
pub(super) fn agrees(questions: &[(&str, String)]) {
    let answers = real(questions);
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

#[test]
fn the_real_jq_gives_the_same_for_samples() {
    let lines = include_str!("samples.txt").lines().filter(|line| !line.starts_with('#'));
    let questions =
        lines.map(|line| line.split_once('\t').unwrap()).map(|(input, program)| (program, input.to_owned()));
    agrees(&questions.collect::<Vec<_>>());
}
