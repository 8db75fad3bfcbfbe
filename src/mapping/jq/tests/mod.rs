//! This jq against jq 1.7.1: its own test files, and the real one on samples and on random data.
//! `deploy/install-dependencies.sh jq` puts both where they are looked for.

mod random;
mod real;

use std::collections::BTreeMap;
use std::fs;

use super::{Stop, Val, compile, read, run, text};
use crate::mapping::fuel::{self, Budget};
use crate::threads;

/// jq's sources, of which only the tests are there.
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/jq/tests");
const FILES: [&str; 6] = ["jq.test", "man.test", "onig.test", "manonig.test", "base64.test", "optional.test"];
const INSTALL: &str = "jq's tests are not there: run deploy/install-dependencies.sh jq";
/// What an evaluation of an event may take: see `expression.rs`.
const BUDGET: Budget = Budget { fuel: 1_000_000, heaviest: 131_072, stack: threads::STACK / 2, deepest: 10_000 };

/// What a program gave before it ended, and the error that it ended with; or why it is none.
type Ran = Result<(Vec<Val>, Option<String>), String>;

fn ran(program: &str, input: &str) -> Ran {
    let (program, input) = (program.to_owned(), input.to_owned());
    let work = move || {
        let program = fuel::within(Budget::NONE, || compile(&program, &[])).map_err(|stop| format!("{stop:?}"))??;
        let mut given = Vec::new();
        let done = fuel::within(BUDGET, || {
            run(&program, read(&input).unwrap(), Vec::new(), &mut |value| {
                given.push(value);
                Ok(())
            })
        });
        let error = match done {
            Ok(Ok(())) => None,
            Ok(Err(Stop::Error(said))) => Some(text(&said)),
            Ok(Err(Stop::Break(_))) => Some("break".to_owned()),
            Err(stop) => Some(format!("stopped: {stop:?}")),
        };
        Ok((given, error))
    };
    threads::run(work).unwrap()
}

/// One group of lines of a test file.
struct Case {
    program: String,
    /// None: the program must not be read.
    input: Option<String>,
    expected: Vec<String>,
}

fn cases(text: &str) -> Vec<Case> {
    let skipped = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let mut lines = text.lines().peekable();
    let mut cases = Vec::new();
    while let Some(program) = lines.next() {
        if skipped(program) {
            continue;
        }
        if program.starts_with("%%FAIL") {
            let program = lines.next().unwrap().to_owned();
            while lines.next().is_some_and(|line| !line.trim().is_empty()) {}
            cases.push(Case { program, input: None, expected: Vec::new() });
            continue;
        }
        let input = Some(lines.next().unwrap().to_owned());
        let expected = std::iter::from_fn(|| lines.next_if(|line| !skipped(line))).map(str::to_owned).collect();
        cases.push(Case { program: program.to_owned(), input, expected });
    }
    cases
}

impl Case {
    fn agrees(&self) -> bool {
        let Some(input) = &self.input else { return ran(&self.program, "null").is_err() };
        let Ok((given, _)) = ran(&self.program, input) else { return false };
        let expected: Vec<Val> = self.expected.iter().map(|line| read(line).unwrap()).collect();
        given == expected
    }
}

/// What is listed to differ: a line with the file and the program, and a line with the reason.
fn listed() -> BTreeMap<(String, String), String> {
    let lines: Vec<&str> = include_str!("differences.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let entries = lines.split(|line| line.is_empty()).filter(|entry| !entry.is_empty());
    let entry = |entry: &[&str]| {
        let &[case, reason] = entry else { panic!("two lines are wanted: {entry:?}") };
        let (file, program) = case.split_once(": ").unwrap();
        ((file.to_owned(), program.to_owned()), reason.trim().to_owned())
    };
    entries.map(entry).collect()
}

#[test]
fn jqs_own_tests_agree_but_for_what_is_listed_with_its_reason() {
    let listed = listed();
    let (mut wrong, mut told, mut all, mut good) = (Vec::new(), String::new(), 0, 0);
    for file in FILES {
        let cases = cases(&fs::read_to_string(format!("{TESTS}/{file}")).expect(INSTALL));
        let (count, before) = (cases.len(), good);
        for case in cases {
            let (agrees, known) = (case.agrees(), listed.contains_key(&(file.to_owned(), case.program.clone())));
            good += usize::from(agrees);
            if agrees == known {
                let what = if known { "agrees, but is listed" } else { "differs, and is not listed" };
                wrong.push(format!("{file}: {} ({what})", case.program));
            }
        }
        all += count;
        told += &format!("{file} {} of {count}, ", good - before);
    }
    println!("{told}all {good} of {all}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(good * 100 >= all * 97, "{good} of {all}");
    assert!(listed.values().all(|reason| reason.len() > 10), "each difference has its reason");
}
