//! `docs/tutorial.md`, done as a reader does it: files saved, commands run one after the other in one shell, and what they print.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use regex::Regex;
use sluice::demo::ports::free_ports;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{LONG, own_node};

const PAGE: &str = include_str!("../../docs/tutorial.md");
/// Where the reader's files are.
const FOLDER: &str = "webinars";
/// Commands that change nothing: a reader who is too early looks again.
const LOOKS: [&str; 5] =
    ["curl --silent ", "sluice status", "sluice dead groups", "sluice dead list", "sluice dead show"];

/// What the page has its reader do.
enum Step {
    Save {
        name: String,
        text: String,
    },
    Run(String),
    /// What the commands before it print, among other lines; `…` stands for anything.
    See(String),
}

/// The page's blocks of code, in order.
fn steps(page: &str) -> Vec<Step> {
    let name = Regex::new(r"Save this as `([^`]+)`:\s*$").unwrap();
    let mut parts = page.split("```");
    let mut steps = Vec::new();
    while let (Some(prose), Some(block)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').unwrap();
        steps.push(match (language, name.captures(prose)) {
            (_, Some(name)) => Step::Save { name: name[1].to_owned(), text: text.to_owned() },
            ("sh", None) => Step::Run(text.to_owned()),
            ("text", None) => Step::See(text.to_owned()),
            (other, None) => panic!("a block of {other} that is not saved:\n{text}"),
        });
    }
    steps
}

/// The reader's terminal, and all that was started in it.
struct Shell {
    bash: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Shell {
    fn open(home: &Path, tools: &Path) -> Self {
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.current_dir(env!("CARGO_MANIFEST_DIR")).env("HOME", home).env("PATH", path);
        bash.env_remove("SLUICE_CONFIG").env_remove("RUST_LOG").process_group(0).kill_on_drop(true);
        bash.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut bash = bash.spawn().unwrap();
        let output = BufReader::new(bash.stdout.take().unwrap()).lines();
        Self { input: bash.stdin.take().unwrap(), bash, output }
    }

    /// What the commands print. Fails when one of them does.
    async fn run(&mut self, commands: &str) -> String {
        let script = format!("set -e\n{{ {commands}\n}} 2>&1\necho; echo END OF COMMANDS\n");
        self.input.write_all(script.as_bytes()).await.unwrap();
        let mut said = String::new();
        let all = async {
            loop {
                match self.output.next_line().await.unwrap() {
                    Some(line) if line == "END OF COMMANDS" => break,
                    Some(line) => said.extend([line.as_str(), "\n"]),
                    None => panic!("these commands fail:\n{commands}\n{said}"),
                }
            }
        };
        let ended = tokio::time::timeout(LONG * 3, all).await;
        assert!(ended.is_ok(), "these commands do not end:\n{commands}\n{said}");
        said
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(group) = self.bash.id() {
            drop(std::process::Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status());
        }
    }
}

/// Whether these lines are among those, in this order.
fn shows(printed: &str, expected: &str) -> bool {
    let mut lines = printed.lines();
    expected.lines().all(|line| {
        let parts: Vec<String> = line.trim().split('…').map(regex::escape).collect();
        let pattern = Regex::new(&format!("^{}$", parts.join(".*"))).unwrap();
        lines.any(|line| pattern.is_match(line.trim()))
    })
}

/// Looks again until the commands print this.
async fn see(shell: &mut Shell, commands: &str, mut printed: String, expected: &str) {
    let looks = commands.lines().all(|line| LOOKS.iter().any(|look| line.starts_with(look)));
    let deadline = tokio::time::Instant::now() + LONG * 2;
    while !shows(&printed, expected) {
        let again = looks && tokio::time::Instant::now() < deadline;
        assert!(again, "{commands}\nshould print\n{expected}\nand prints\n{printed}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        printed = shell.run(commands).await;
    }
}

/// `sluice` as it was built for the tests, and an `npm` that has the page's package at hand.
fn tools(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_sluice"), folder.join("sluice")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(root.join("tests/node/package.json")).unwrap()).unwrap();
    let version = packages["dependencies"]["amqplib"].as_str().unwrap();
    let modules = root.join("target/tools/node-packages/node_modules");
    assert!(modules.exists(), "{} is missing: `make test` installs it", modules.display());
    let npm = format!(
        "#!/bin/sh\ntest \"$*\" = 'init --yes' && exit\ntest \"$*\" = 'install amqplib@{version}' && ln -s '{}' .\n",
        modules.display()
    );
    std::fs::write(folder.join("npm"), npm).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.join("npm"), executable).unwrap();
}

#[tokio::test]
async fn every_command_of_the_tutorial_does_what_the_page_says() {
    let node = own_node().await;
    let home = tempfile::Builder::new().prefix("sluice-tutorial-").tempdir().unwrap();
    let bin = home.path().join("bin");
    tools(&bin);
    let [sandbox, admin] = free_ports().unwrap();
    let mut page = PAGE.to_owned();
    for (there, here) in [
        ("$PWD/target/release", bin.to_str().unwrap()),
        ("amqp://guest:guest@127.0.0.1:5672/%2f", &node.url()),
        ("127.0.0.1:8481", &format!("127.0.0.1:{sandbox}")),
        ("127.0.0.1:9464", &format!("127.0.0.1:{admin}")),
    ] {
        assert!(page.contains(there), "{there}");
        page = page.replace(there, here);
    }
    let mut shell = Shell::open(home.path(), &bin);
    let (mut commands, mut printed, mut seen) = (String::new(), String::new(), 0);
    for step in steps(&page) {
        match step {
            Step::Save { name, text } => std::fs::write(home.path().join(FOLDER).join(name), text).unwrap(),
            Step::Run(text) => {
                printed = shell.run(&text).await;
                println!("{text}\n{printed}");
                commands = text;
            }
            Step::See(expected) => {
                see(&mut shell, &commands, printed.clone(), &expected).await;
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}
