//! The borders between the parts, guarded by reading the sources. A file's tests, and what a comment says, do not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sluice::vendors::REGISTRY;

const MOST_LINES: usize = 500;

/// A source file: its path from `src/`, with `/`, and its code.
struct Source {
    path: String,
    lines: usize,
    code: String,
}

impl Source {
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| if place.ends_with('/') { self.path.starts_with(place) } else { self.path == *place })
    }

    /// The folder or file of `src/` that it is in or is.
    fn part(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// The parts that it names by a path from the root, as in `crate::gate::Limit` and `crate::{clock, lint}`.
    fn imports(&self) -> BTreeSet<&str> {
        let paths = self.code.split("crate::").skip(1);
        paths.flat_map(|path| path.strip_prefix('{').map_or_else(|| vec![first_word(path)], heads)).collect()
    }

    fn names(&self, word: &str) -> bool {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        self.code.match_indices(word).any(|(at, _)| {
            !is_word(self.code[..at].chars().next_back()) && !is_word(self.code[at + word.len()..].chars().next())
        })
    }
}

fn first_word(path: &str) -> &str {
    path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default()
}

/// What each path of a group begins with: of `clock, gate::{Limit, State}, lint};` clock, gate and lint.
fn heads(group: &str) -> Vec<&str> {
    let (mut heads, mut from, mut depth) = (Vec::new(), 0, 1);
    for (at, c) in group.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 || (depth == 1 && c == ',') {
            heads.push(first_word(group[from..at].trim_start()));
            from = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Every file of product code under `src/`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(&root, &path));
            }
        }
    }
    sources.retain(|source| !source.path.split(['/', '.']).any(|part| part == "tests"));
    assert!(sources.len() > 40, "the sources were not found");
    sources
}

fn source(root: &Path, path: &PathBuf) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let code: Vec<&str> = product.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    Source { path, lines: text.lines().count(), code: code.join("\n") }
}

/// Fails with every file in `files` that names one of `words`.
#[track_caller]
fn forbid<'a>(files: impl IntoIterator<Item = &'a Source>, words: &[&str], rule: &str) {
    let found: Vec<String> = files
        .into_iter()
        .flat_map(|file| {
            words.iter().filter(|word| file.names(word)).map(|word| format!("src/{} names {word}", file.path))
        })
        .collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// What imports from lower floors only, from the lowest to the highest. Those of one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["backoff", "class", "clock", "message", "person", "redact", "routing", "seal", "verdict", "words"],
    &["event", "gate", "lease", "supervisor", "threads", "traces"],
    &["broker", "mapping", "record"],
    &["audit", "history", "metrics", "receipts", "section", "suppression"],
    &["control", "vendors"],
    &["config", "delivery"],
    &["explain", "lint", "log", "serving"],
    &["dead_letters", "destination"],
    &["fleet", "people", "unrouted", "waiting"],
    &["find", "operator", "watch"],
    &["issues"],
    &["admin", "ingest", "sandbox"],
    &["app", "demo"],
    &["cli"],
];

/// What decides: values in, values out.
const PURE: &[&str] = &[
    "admin/console/bars.rs",
    "admin/console/chart/",
    "admin/console/copy.rs",
    "admin/console/figures.rs",
    "admin/console/flash.rs",
    "admin/console/session.rs",
    "admin/console/show.rs",
    "admin/why.rs",
    "admin/wrong.rs",
    "audit/acts.rs",
    "backoff.rs",
    "class.rs",
    "control/stamp.rs",
    "dead_letters/acts.rs",
    "dead_letters/causes.rs",
    "dead_letters/export.rs",
    "dead_letters/fields.rs",
    "dead_letters/filter.rs",
    "dead_letters/groups.rs",
    "dead_letters/letter.rs",
    "dead_letters/operation/flow.rs",
    "dead_letters/operation/outcomes.rs",
    "dead_letters/operation/pace.rs",
    "dead_letters/operation/selection.rs",
    "dead_letters/operation/state.rs",
    "dead_letters/operation/yielding.rs",
    "dead_letters/page.rs",
    "dead_letters/x_death.rs",
    "destination/demand.rs",
    "destination/recent.rs",
    "destination/tap.rs",
    "destination/turns.rs",
    "event/",
    "find/story/",
    "gate/",
    "history/about.rs",
    "history/step.rs",
    "ingest/rates.rs",
    "issues/changes.rs",
    "issues/find.rs",
    "issues/seen.rs",
    "lease/act.rs",
    "lease/fence.rs",
    "lease/machine/",
    "lease/note.rs",
    "mapping/",
    "message/",
    "people/list.rs",
    "person.rs",
    "record/",
    "redact.rs",
    "routing.rs",
    "section/",
    "suppression/change.rs",
    "suppression/table.rs",
    "unrouted/groups.rs",
    "vendors/",
    "verdict.rs",
    "watch/forecast.rs",
    "words.rs",
];

#[test]
fn every_part_stands_on_one_floor_and_imports_from_lower_ones() {
    let sources = sources();
    let parts: BTreeSet<&str> =
        sources.iter().map(Source::part).filter(|part| !["lib", "main"].contains(part)).collect();
    let mut named: Vec<&str> = FLOORS.concat();
    named.sort_unstable();
    assert_eq!(named, Vec::from_iter(parts), "each folder and file of src is on one floor");
    let floor = |part: &str| FLOORS.iter().position(|floor| floor.contains(&part));
    let mut upward = Vec::new();
    for file in sources.iter().filter(|file| floor(file.part()).is_some()) {
        let imports = file.imports().into_iter().filter(|part| *part != file.part());
        let wrong = imports.filter(|part| floor(part) >= floor(file.part()));
        upward.extend(wrong.map(|part| format!("src/{} imports {part}", file.path)));
    }
    assert!(upward.is_empty(), "imports go downward only; see the floors:\n{}", upward.join("\n"));
}

#[test]
fn the_page_on_the_architecture_has_the_same_floors_and_the_same_pure_files() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let rows =
        page.lines().filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()));
    let floors: Vec<Vec<&str>> = rows.map(|row| in_backticks(row.split('|').nth(2).unwrap())).collect();
    assert_eq!(floors, FLOORS, "docs/architecture.md has other floors");
    let pure = page.split("\n\n").find(|paragraph| paragraph.starts_with("**Pure files**")).unwrap();
    assert_eq!(in_backticks(pure), PURE, "docs/architecture.md has other pure files");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for place in PURE {
        assert!(root.join(place).exists(), "src/{place} is not there any more");
    }
}

fn in_backticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What the worker starts without its supervisor, and how often: it is short, or somebody waits for its end. Whatever works for as long as the
/// process does is run by `Supervisor::keep`, and stands in the table of docs/architecture.md.
const UNWATCHED: &[(&str, usize)] = &[
    // A look at letters, which goes on when who asked for it goes away.
    ("admin/dead.rs", 1),
    // An operator's act on its way to the audit.
    ("admin/mod.rs", 1),
    // Queues declared beside consumption.
    ("broker/consumer.rs", 1),
    // Connections being closed.
    ("broker/link.rs", 2),
    // One read of dead letters, and its lock.
    ("broker/locked_read.rs", 2),
    ("broker/read_lock.rs", 2),
    ("dead_letters/operation/mod.rs", 1),
    // A look at letters or unrouted events, which goes on when the search is over.
    ("find/piles.rs", 2),
    // A destination's post, which the fleet looks after; patterns being unbound.
    ("fleet/mod.rs", 2),
    // A destination's driver, which its post starts again.
    ("fleet/post.rs", 1),
    // A look at a queue.
    ("issues/causes.rs", 2),
    // A notification on its way.
    ("issues/notify.rs", 1),
    // The last lines of the log.
    ("log/mod.rs", 1),
    // A command on its way to other workers.
    ("operator/mod.rs", 1),
    // Threads that catch what panics on them.
    ("threads.rs", 1),
];

#[test]
fn what_the_worker_starts_is_watched_or_short() {
    let mut unwatched = Vec::new();
    let sources = sources();
    for file in sources.iter().filter(|file| !file.is_in(&["cli/", "demo/", "sandbox/"])) {
        let starts = file.code.lines().filter(|line| line.contains("spawn(") && !line.contains("supervisor.keep"));
        let count = starts.count();
        unwatched.extend((count > 0).then_some((file.path.as_str(), count)));
    }
    unwatched.sort_unstable();
    assert_eq!(unwatched, UNWATCHED);
}

#[test]
fn each_header_of_sluice_is_spelled_once() {
    let sources = sources();
    let spells = |file: &&Source| file.code.contains("\"x-sluice-");
    let (home, elsewhere): (Vec<_>, Vec<_>) =
        sources.iter().filter(spells).partition(|file| file.path == "message/header.rs");
    let elsewhere: Vec<&str> = elsewhere.into_iter().map(|file| file.path.as_str()).collect();
    assert!(elsewhere.is_empty(), "src/message/header.rs has the names; {elsewhere:?} spells one");
    let mut names: Vec<&str> = home[0].code.split('"').skip(1).step_by(2).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(count > 30 && names.len() == count, "a name stands twice in {names:?}");
}

#[test]
fn what_decides_touches_nothing_outside() {
    let outside =
        ["tokio", "lapin", "reqwest", "axum", "fastrand", "std::env", "std::fs", "std::net", "crate::clock", "tracing"];
    forbid(sources().iter().filter(|file| file.is_in(PURE)), &outside, "time, I/O and luck are arguments here");
}

#[test]
fn each_outside_crate_has_one_home() {
    let homes: [(&str, &[&str]); 18] = [
        ("lapin", &["broker/"]),
        ("axum", &["admin/", "ingest/", "serving/"]),
        ("askama", &["admin/console/"]),
        // What the API shows of letters describes itself, as it does for serde.
        (
            "utoipa",
            &[
                "admin/",
                "audit/",
                "control/reload.rs",
                "dead_letters/",
                "find/",
                "issues/",
                "people/",
                "record/history.rs",
                "unrouted/",
                "waiting.rs",
            ],
        ),
        // The body that tells when it was written is of its traits, and so is a connection.
        ("hyper", &["sandbox/", "delivery/body.rs", "delivery/connect.rs"]),
        ("hyper_rustls", &["delivery/connect.rs"]),
        ("flate2", &["delivery/http.rs"]),
        ("fancy_regex", &["mapping/"]),
        ("indexmap", &["mapping/"]),
        ("libm", &["mapping/"]),
        ("reqwest", &["cli/", "demo/"]),
        ("backoff", &["backoff.rs"]),
        ("anstream", &["cli/"]),
        ("comfy_table", &["cli/"]),
        ("crossterm", &["cli/"]),
        ("opentelemetry", &["traces/"]),
        ("opentelemetry_sdk", &["traces/"]),
        ("opentelemetry_otlp", &["traces/"]),
    ];
    let sources = sources();
    for (crate_name, home) in homes {
        let path = format!("{crate_name}::");
        let elsewhere: Vec<&str> = sources
            .iter()
            .filter(|file| {
                !file.is_in(home)
                    && file
                        .code
                        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                        .any(|word| word.starts_with(&path))
            })
            .map(|file| file.path.as_str())
            .collect();
        assert!(elsewhere.is_empty(), "{crate_name} belongs to {home:?} and is used in {elsewhere:?}");
        assert!(
            sources.iter().any(|file| file.is_in(home) && file.names(crate_name)),
            "{home:?} does not name {crate_name}"
        );
    }
}

#[test]
fn a_destination_and_delivery_know_neither_the_broker_client_nor_the_admin_nor_the_configurations_text() {
    let files = sources();
    let files = files.iter().filter(|file| file.is_in(&["destination/", "delivery/", "dead_letters/"]));
    forbid(
        files,
        &["lapin", "axum", "toml_span", "crate::admin", "crate::cli", "crate::app", "crate::fleet"],
        "wrong way round",
    );
}

#[test]
fn the_broker_knows_no_vendor_and_no_admin() {
    let files = sources();
    let files = files.iter().filter(|file| file.is_in(&["broker/", "delivery/http.rs"]));
    forbid(
        files,
        &["crate::admin", "crate::cli", "crate::config", "crate::destination", "REGISTRY"],
        "wrong way round",
    );
}

#[test]
fn the_sandbox_shares_no_code_with_what_it_checks() {
    let sources = sources();
    let (sandbox, others): (Vec<_>, Vec<_>) = sources.iter().partition(|file| file.is_in(&["sandbox/"]));
    let checked = ["crate::vendors", "crate::gate", "crate::destination", "crate::config", "crate::delivery"];
    forbid(sandbox, &checked, "a shared mistake would go unseen");
    let others = others.into_iter().filter(|file| !file.is_in(&["cli/", "demo/", "lib.rs"]));
    forbid(others, &["crate::sandbox"], "the worker does not need the sandbox");
}

#[test]
fn the_clock_and_the_environment_are_read_in_one_place() {
    let files = sources();
    let clocks = ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"];
    forbid(files.iter().filter(|file| !file.is_in(&["clock.rs", "sandbox/"])), &clocks, "src/clock.rs reads the time");
    let environment = ["env::var", "env::var_os", "env::vars"];
    forbid(
        files.iter().filter(|file| !file.is_in(&["main.rs", "config/file.rs", "cli/", "demo/"])),
        &environment,
        "take it as an argument",
    );
}

#[test]
fn every_vendors_folder_is_registered() {
    let folders = vendor_folders();
    assert_eq!(folders.len(), REGISTRY.len(), "{folders:?}");
    let registry = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vendors/mod.rs")).unwrap();
    for folder in folders {
        assert!(registry.contains(&format!("{folder}::KIND")), "src/vendors/{folder} is not in the registry");
    }
    let mut names: Vec<&str> = REGISTRY.iter().map(|kind| kind.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), REGISTRY.len(), "two vendors of one name");
}

#[test]
fn no_vendors_name_stands_outside_its_folder() {
    let sources = sources();
    let elsewhere =
        sources.iter().filter(|file| !file.is_in(&["vendors/", "sandbox/", "demo/", "cli/sandbox/", "cli/demo.rs"]));
    for (folder, kind) in vendor_folders().iter().zip(sorted_by_folder()) {
        // "http" is also a protocol and a crate: only as a vendor's name is it one.
        let words: Vec<String> = if folder == "http" {
            vec!["vendors::http".to_owned(), "vendor = \\\"http\\\"".to_owned()]
        } else {
            // A short first word, as "act", stands in ordinary ones too.
            let first = folder.split('_').next().filter(|word| word.len() > 3).unwrap_or(folder);
            vec![folder.clone(), kind.to_owned(), folder.replace('_', ""), first.to_owned()]
        };
        for file in elsewhere.clone() {
            let code = file.code.to_lowercase();
            let found = words.iter().find(|word| code.contains(word.as_str()));
            assert!(found.is_none(), "src/{} names the vendor {folder} ({found:?})", file.path);
        }
    }
    let http_as_a_vendor = |file: &&Source| file.code.contains("== \"http\"") || file.code.contains("find(\"http\")");
    assert!(elsewhere.clone().find(http_as_a_vendor).is_none());
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|file| file.lines > MOST_LINES)
        .map(|file| format!("src/{}: {} lines", file.path, file.lines))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_module_opens_with_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources() {
        let text = fs::read_to_string(root.join(&file.path)).unwrap();
        assert!(text.starts_with("//! "), "src/{} opens without a //! line", file.path);
    }
}

/// The names of the folders in `src/vendors`, sorted.
fn vendor_folders() -> Vec<String> {
    let vendors = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vendors");
    let entries = fs::read_dir(vendors).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let mut folders: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    folders.sort();
    folders
}

/// The vendors' names in the order of their folders: `-` is `_` there.
fn sorted_by_folder() -> Vec<&'static str> {
    let mut names: Vec<&str> = REGISTRY.iter().map(|kind| kind.name).collect();
    names.sort_by_key(|name| name.replace('-', "_"));
    names
}
