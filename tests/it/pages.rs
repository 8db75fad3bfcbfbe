//! Every page for people: its links lead somewhere, and it shows no command and no configuration that Sluice does not take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use regex::Regex;
use sluice::cli::Cli;
use sluice::config;
use sluice::gate::GateState;
use sluice::verdict::Reason;

/// Pages by their paths.
fn pages() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = of_docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = pages.chain(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    pages.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// What links to a page's parts may say.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = prose(page);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|text| text.to_lowercase().replace(|c| !kept(c), "").replace(' ', "-")).collect()
}

#[test]
fn every_link_on_a_page_leads_to_a_file_and_to_one_of_its_headings() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let (pages, mut broken, mut parts) = (pages(), Vec::new(), 0);
    for (path, page) in &pages {
        for found in link.captures_iter(&prose(page)).map(|found| found[1].to_owned()) {
            if found.starts_with("http") {
                continue;
            }
            let (file, part) = found.split_once('#').map_or((found.as_str(), None), |(file, part)| (file, Some(part)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let leads = match (target.canonicalize(), part) {
                (Err(_), _) => false,
                (Ok(_), None) => true,
                (Ok(target), Some(part)) => pages.get(&target).is_some_and(|page| anchors(page).contains(part)),
            };
            parts += usize::from(part.is_some());
            if !leads {
                broken.push(format!("{}: {found}", path.display()));
            }
        }
    }
    assert!(parts > 40, "{parts}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_command_on_a_page_is_one_that_sluice_knows() {
    let pages = pages();
    let commands: Vec<&str> = pages
        .values()
        .flat_map(|page| page.split("```sh\n").skip(1))
        .flat_map(|block| block.split("```").next().unwrap().lines().map(str::trim))
        .filter(|line| line.starts_with("sluice "))
        .collect();
    assert!(commands.len() > 50, "{commands:?}");
    for line in commands {
        if let Err(error) = Cli::try_parse_from(words(line)) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn every_configuration_on_a_page_is_one_that_sluice_takes() {
    let secret = |name: &str| {
        Some(match () {
            () if name.contains("AMQP") => "amqp://localhost".to_owned(),
            () if name.ends_with("_URL") => "https://hooks.example.com/x".to_owned(),
            () if name.contains("WEBHOOKS") => format!("whsec_{}", "k".repeat(32)),
            () if name.contains("LEDGER") => format!("{}=", "k".repeat(43)),
            () => format!("of-{name}-{name}"),
        })
    };
    let file = |path: &Path| match path.display().to_string() {
        path if path.contains("ledger") => Ok(format!("{}=", "k".repeat(43))),
        path => Ok(format!("of-{path}")),
    };
    let (pages, mut read) = (pages(), 0);
    for (path, page) in &pages {
        // A single key shows how it is written, and is no configuration.
        let blocks = page.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
        for block in blocks.filter(|block| block.starts_with('[')) {
            let broker = if block.contains("[broker]") { "" } else { "[broker]\nurl = \"amqp://localhost\"\n" };
            let name = path.display().to_string();
            if let Err(problems) = config::parse(&name, &format!("{broker}{block}"), &secret, &file) {
                panic!("{block}\n{problems}");
            }
            read += 1;
        }
    }
    assert!(read >= 7, "{read}");
}

#[test]
fn every_state_of_a_gate_and_every_reason_of_a_dead_letter_is_defined_once() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/concepts.md")).unwrap();
    for name in GateState::ALL.map(GateState::name).into_iter().chain(Reason::ALL.map(Reason::name)) {
        let defined = page.lines().filter(|line| line.starts_with(&format!("| `{name}` |"))).count();
        assert_eq!(defined, 1, "{name}");
    }
}

#[test]
fn nobody_is_told_to_look_for_a_worker_by_the_name_of_its_process() {
    let help = Cli::try_parse_from(["sluice", "run", "--help"]).unwrap_err().to_string();
    let pages = pages();
    for text in pages.values().chain([&help]) {
        assert!(!text.contains("pkill ") && !text.contains("killall "), "sluice reload does it: {text}");
    }
    assert!(help.contains("sluice reload"));
}

/// A line's first command as the shell splits it into words.
fn words(line: &str) -> Vec<String> {
    let mut quoted = false;
    let ends = |c: char| {
        quoted ^= c == '\'';
        !quoted && ";|>&".contains(c)
    };
    let first = line.split(ends).next().unwrap();
    let script = format!("sluice() {{ printf '%s\\n' sluice \"$@\"; }}; {first}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
