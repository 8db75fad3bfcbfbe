//! The demo's temporary folder. It goes when the demo ends, and also when the demo is killed; with it goes the worker.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::clock;

/// Waits until its standard input ends, which it does however the demo dies; then ends what runs in this folder of
/// the processes named on it, and removes the folder.
const GUARD: &str = r#"trap '' INT TERM HUP
while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do [ "/proc/$pid/cwd" -ef . ] && kill -9 "$pid"; done
folder=$PWD
cd / && for try in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$folder" && exit; sleep 0.3; done"#;
/// How often removing is tried: what was just killed may still write a last file.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// The folder and its guard.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    guard: Child,
}

impl Home {
    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made, or there is no shell to guard it.
    pub fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sluice-demo-").tempdir()?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD]).current_dir(dir.path()).process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { guard: guard.spawn()?, dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A file or folder in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// From now on this process, which works in the folder, ends with the demo.
    ///
    /// # Errors
    /// The guard is gone.
    pub async fn guard(&mut self, pid: u32) -> io::Result<()> {
        let guard = self.guard.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        tokio::io::AsyncWriteExt::write_all(guard, format!("{pid}\n").as_bytes()).await
    }

    /// Removes the folder, once everything in it has ended.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn clear(mut self) -> io::Result<()> {
        let mut removed = Ok(());
        for _ in 0..TRIES {
            removed = match std::fs::remove_dir_all(self.dir.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => break,
            };
            clock::sleep(PAUSE).await;
        }
        drop(self.guard.stdin.take());
        self.guard.wait().await?;
        // Removed by hand or by the guard; there is nothing left to try.
        drop(self.dir.keep());
        removed
    }
}

/// The last lines of a log, for an error about what wrote it: the file itself will be gone.
#[must_use]
pub fn last_lines(log: &Path, lines: usize) -> String {
    let Ok(text) = std::fs::read(log) else { return String::new() };
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("\n  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_of_the_folder_is_left() {
        let home = Home::new().unwrap();
        let path = home.path().to_owned();
        std::fs::write(home.join("file"), "x").unwrap();
        home.clear().await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dropped_home_takes_its_worker_and_folder_along() {
        let mut home = Home::new().unwrap();
        let path = home.path().to_owned();
        let mut worker = Command::new("sleep").arg("60").current_dir(&path).spawn().unwrap();
        home.guard(worker.id().unwrap()).await.unwrap();
        // As if the demo had been killed: no destructor but the pipe's end.
        drop(home.guard.stdin.take());
        assert!(!worker.wait().await.unwrap().success());
        home.guard.wait().await.unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_last_lines_of_a_log_are_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(last_lines(&dir.path().join("log"), 2), "\n  two\n  three");
        assert_eq!(last_lines(&dir.path().join("none"), 2), "");
    }
}
