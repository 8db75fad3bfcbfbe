//! A process under measure: started, asked what it has used, and ended. Never outlives the bench.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sluice::clock;
use tokio::process::Command;

use crate::Error;

/// A worker gives itself 10 s to stop.
const STOP: Duration = Duration::from_secs(15);
/// The kernel's ticks for user space: 100 a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// A running process.
#[derive(Debug)]
pub struct Child {
    child: tokio::process::Child,
    pid: u32,
}

/// Memory that a process has resident, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// At this moment.
    pub now: f64,
    /// The most there ever was.
    pub peak: f64,
}

impl Child {
    /// Starts `program` with standard error in `log`.
    ///
    /// # Errors
    /// The system's.
    pub fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self, Error> {
        let log = File::options().create(true).append(true).open(log)?;
        // Told to end when the bench does, however it ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]).arg(program).args(arguments).kill_on_drop(true);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let pid = child.id().ok_or("a process ended as it began")?;
        Ok(Self { child, pid })
    }

    /// Processor time used so far, by itself and for it by the kernel.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration, Error> {
        let stat = self.read("stat")?;
        // The name may hold spaces; what follows it begins with the state, which proc(5) counts as field 3.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// Memory resident now and at most.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> Result<Resident, Error> {
        let status = self.read("status")?;
        let bytes = |name: &str| -> Result<f64, Error> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the process has ended")?;
            let kilobytes: u32 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse()?;
            Ok(f64::from(kilobytes) * 1024.0)
        };
        Ok(Resident { now: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When it ended badly.
    pub fn has_ended(&mut self) -> Result<bool, Error> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(format!("a command ended with {status}").into()),
        }
    }

    /// Sends it a signal: `TERM`, `STOP`.
    ///
    /// # Errors
    /// The system's.
    pub async fn signal(&self, name: &str) -> Result<(), Error> {
        Command::new("kill").args(["-s", name, &self.pid.to_string()]).status().await?;
        Ok(())
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// The system's.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.signal("TERM").await?;
        tokio::select! {
            ended = self.child.wait() => drop(ended?),
            () = clock::sleep(STOP) => self.child.kill().await?,
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String, Error> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.pid))?)
    }
}
