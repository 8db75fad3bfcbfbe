//! What `docs/producers.md` shows its readers, run as they would run it: against a real broker, a worker at work and the sandbox.

mod asyncapi;
mod connections;
mod contract;
mod cutter;
mod publishing;
mod receipts;
mod sdks;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::support::LONG;

/// A program at work, and what it says.
struct Program {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
    /// A Node program stands here, beside its packages.
    _folder: tempfile::TempDir,
}

/// What a program said, and whether it ended well.
struct Ended {
    good: bool,
    out: String,
    err: String,
}

impl Program {
    /// Starts a file of the repository by its kind.
    fn start(file: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_with(file, &[], environment)
    }

    fn start_with(file: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = root().join(file);
        let mut command = match path.extension().and_then(OsStr::to_str) {
            Some("rs") => Command::new(built(path.file_stem().unwrap())),
            Some("py") => with(tool("pika/bin/python"), &["-u".as_ref(), path.as_os_str()]),
            Some("mjs") => {
                // The publisher is a module that others import.
                std::fs::copy(root().join("docs/examples/publisher.mjs"), folder.path().join("publisher.mjs")).unwrap();
                let copy = folder.path().join("program.mjs");
                std::fs::copy(&path, &copy).unwrap();
                std::os::unix::fs::symlink(tool("node-packages/node_modules"), folder.path().join("node_modules"))
                    .unwrap();
                with("node".into(), &[copy.as_os_str()])
            }
            _ => Command::new(path),
        };
        command.args(arguments).envs(environment.iter().copied()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{file}: {error}; `make test` installs it"));
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, out, err, _folder: folder }
    }

    /// Waits for its end.
    async fn end(mut self) -> Ended {
        let said = async { tokio::join!(rest(&mut self.out), rest(&mut self.err)) };
        let (out, err) = tokio::time::timeout(LONG * 2, said).await.expect("the program ends");
        Ended { good: self.child.wait().await.unwrap().success(), out, err }
    }

    /// Waits for a line of standard output.
    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(LONG, self.out.next_line()).await.expect("it says something");
        line.unwrap().expect("it goes on")
    }

    /// Waits for a line of standard error that has this in it.
    async fn complains(&mut self, part: &str) {
        let complaint = async {
            while let Some(line) = self.err.next_line().await.unwrap() {
                if line.contains(part) {
                    return;
                }
            }
            panic!("it ended without a word of {part:?}");
        };
        tokio::time::timeout(LONG, complaint).await.unwrap_or_else(|_| panic!("no word of {part:?}"));
    }
}

async fn rest<R: tokio::io::AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `deploy/install-dependencies.sh` puts what it installs for the tests.
fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools").join(name);
    assert!(path.exists(), "{} is missing: `make test` installs it", path.display());
    path
}

/// An example that cargo has built beside these tests, as `cargo test` does.
fn built(name: &OsStr) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

fn with(program: PathBuf, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
