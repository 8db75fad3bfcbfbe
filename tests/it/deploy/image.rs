//! deploy/Dockerfile and what is sent to the engine.

use std::fs;

use super::{known, path, read};
use regex::Regex;

const DOCKERFILE: &str = "deploy/Dockerfile";

/// The instructions, each on one line.
fn instructions() -> Vec<String> {
    let text = read(DOCKERFILE).replace("\\\n", " ");
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn arguments<'a>(instructions: &'a [String], word: &str) -> Vec<&'a str> {
    instructions.iter().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn it_is_built_with_the_rust_that_cargo_toml_asks_for_and_for_the_release_it_runs_on() {
    let manifest = read("Cargo.toml");
    let version = Regex::new("rust-version = \"(.+)\"").unwrap().captures(&manifest).unwrap()[1].to_owned();
    let all = instructions();
    assert_eq!(arguments(&all, "FROM"), [&*format!("rust:{version}-bookworm AS build"), "debian:bookworm-slim"]);
    assert!(arguments(&all, "RUN").iter().all(|run| run.contains("cargo build --release --locked")), "{all:?}");
}

#[test]
fn it_runs_as_nobody_in_particular_says_how_it_is_and_stops_in_order() {
    let all = instructions();
    let user = arguments(&all, "USER")[0].split(':').next().unwrap().parse::<u32>().unwrap();
    assert!(user > 999, "Kubernetes compares numbers: {user}");
    assert_eq!(arguments(&all, "STOPSIGNAL"), ["SIGTERM"]);
    let json = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap();
    let health = json(arguments(&all, "HEALTHCHECK")[0].split_once("CMD ").unwrap().1);
    let run = [json(arguments(&all, "ENTRYPOINT")[0]), json(arguments(&all, "CMD")[0])].concat();
    for command in [health, run] {
        known(&command.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// What the program takes in when it is built must be among what is sent: the manifests, and src.
#[test]
fn all_that_it_is_built_from_is_sent_and_nothing_else() {
    let ignored = read(".dockerignore");
    let lines: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["*", "!Cargo.toml", "!Cargo.lock", "!askama.toml", "!src"]);
    let include = Regex::new("include_(?:str|bytes)!\\(\\s*\"([^\"]+)\"").unwrap();
    let mut folders = vec![path("src")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|is| is == "rs")
                && entry.file_stem().is_some_and(|is| is != "tests")
            {
                for name in include.captures_iter(&fs::read_to_string(&entry).unwrap()) {
                    found += 1;
                    let included = folder.join(&name[1]).canonicalize().unwrap();
                    assert!(included.starts_with(path("src").canonicalize().unwrap()), "{}", entry.display());
                }
            }
        }
    }
    assert!(found > 0, "the pattern finds nothing any more");
}
