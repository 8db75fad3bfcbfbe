//! How long nothing is sent when the worker that drives a destination is killed, stopped, cut off or ended, with two others beside it; and what
//! the account's limit has to say to it.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use sluice::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Error;
use crate::bench::Size;
use crate::report::{Figure, Report, Target, Unit, number};
use crate::stage::{Destination, Stage};
use crate::vendor::{Journal, Plan, Vendor};
use crate::worker::Worker;

/// The account's limit.
const PER_SECOND: u32 = 200;
/// Before each fault all is well for so long.
const CALM: Duration = Duration::from_secs(4);
/// A worker gets ready, and a request comes, within that.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who delivers nothing for so long does not drive.
const LOOK: Duration = Duration::from_millis(300);
/// How many workers there are.
const WORKERS: usize = 3;

/// What happens to the worker that drives.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Stopped,
    CutOff,
    Ended,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Killed, Self::Stopped, Self::CutOff, Self::Ended];

    fn name(self) -> &'static str {
        match self {
            Self::Killed => "kill -9",
            Self::Stopped => "SIGSTOP",
            Self::CutOff => "connection silent",
            Self::Ended => "SIGTERM",
        }
    }

    /// Another sends within that, in seconds.
    fn bound(self) -> f64 {
        match self {
            Self::Killed => 4.0,
            // What is silent is missed after two to three heartbeats of 1 s; a broker on a busy machine takes longer.
            Self::Stopped | Self::CutOff => 10.0,
            Self::Ended => 1.0,
        }
    }

    /// It lasts so long.
    fn length(self) -> Duration {
        match self {
            Self::Killed => Duration::from_secs(6),
            Self::Stopped | Self::CutOff => Duration::from_secs(12),
            Self::Ended => Duration::from_secs(3),
        }
    }
}

/// Workers over one broker, each over a way of its own.
struct Fleet<'a> {
    stage: &'a Stage,
    destination: Destination,
    members: Vec<Member>,
}

struct Member {
    worker: Worker,
    cut: watch::Sender<bool>,
}

/// Measures each fault.
///
/// # Errors
/// When workers do not get ready or nothing is sent.
pub async fn measure(stage: &Stage, size: Size, report: &mut Report) -> Result<(), Error> {
    for fault in Fault::ALL {
        report.say(&format!("failover, {}: {} times", fault.name(), size.failovers))?;
        of(fault, stage, size.failovers, report).await?;
    }
    Ok(())
}

async fn of(fault: Fault, stage: &Stage, times: u32, report: &mut Report) -> Result<(), Error> {
    let vendor = Vendor::start(Plan::plain(PER_SECOND)).await?;
    let destination = Destination {
        name: format!("failover-{fault:?}").to_lowercase(),
        vendor: "gainsight-px",
        base: vendor.url(),
        limit: Some(format!("{PER_SECOND}/s")),
        concurrency: None,
        more: "",
    };
    stage.declare(std::slice::from_ref(&destination)).await?;
    let round = CALM + fault.length() + Duration::from_secs(2);
    let seconds = times * u32::try_from(round.as_secs())? + 10;
    stage.publish(&destination, PER_SECOND * seconds).await?;
    let mut fleet = Fleet { stage, destination, members: Vec::new() };
    while fleet.members.len() < WORKERS {
        fleet.join().await?;
    }
    let first = vendor.first(PATIENCE).await?;
    let mut silences = Vec::new();
    for _ in 0..times {
        clock::sleep(CALM).await;
        let driver = fleet.driver().await?;
        let at = vendor.now();
        fleet.begin(fault, driver).await?;
        clock::sleep(fault.length()).await;
        silences.push(silence(&vendor.journal(), at, fault.length()));
        fleet.end(fault, driver).await?;
    }
    let lasted = vendor.now().saturating_sub(first);
    let seen = vendor.journal().within(first, lasted);
    silences.sort_by(f64::total_cmp);
    let name = fault.name();
    let mut tell = |what: &str, unit, figure, target| {
        let figure = Figure::alone(format!("failover, {name}: {what}"), unit, figure);
        report.add(if let Some(target) = target { figure.with(target) } else { figure });
    };
    let at = |place: usize| silences.get(place).copied().unwrap_or(f64::NAN);
    tell("shortest silence", Unit::Seconds, at(0), None);
    tell("median silence", Unit::Seconds, at(silences.len() / 2), None);
    tell("longest silence", Unit::Seconds, at(silences.len().saturating_sub(1)), Some(Target::AtMost(fault.bound())));
    // One request beside the limit is allowed at each failover.
    tell("requests refused", Unit::Count, seen.refused, Some(Target::AtMost(f64::from(times))));
    tell("quota used, faults included", Unit::Percent, seen.used(PER_SECOND), None);
    fleet.leave().await
}

/// The longest time without a request within so long of `from`, in seconds.
fn silence(journal: &Journal, from: Duration, length: Duration) -> f64 {
    let before = journal.accepted.partition_point(|at| *at < from).saturating_sub(1);
    let times = journal.accepted.get(before..).unwrap_or_default();
    let within = times.iter().take_while(|at| **at < from + length).copied().chain([from + length]);
    let mut last = None;
    let gaps = within.map(|at| at.saturating_sub(last.replace(at).unwrap_or(at)).as_secs_f64());
    gaps.fold(number(0), f64::max)
}

impl Fleet<'_> {
    /// One more worker.
    async fn join(&mut self) -> Result<(), Error> {
        let (url, cut) = way(&self.stage.url()).await?;
        let section = self.destination.section();
        let worker = self.stage.worker_over(&url, "prefix = \"bench\"", &section, "failover", PATIENCE).await?;
        self.members.push(Member { worker, cut });
        Ok(())
    }

    /// Which one delivers, once one does.
    async fn driver(&self) -> Result<usize, Error> {
        let deadline = clock::now() + PATIENCE;
        let delivered =
            async || try_join_all(self.members.iter().map(|member| member.worker.delivered(&self.destination))).await;
        while clock::now() < deadline {
            let before = delivered().await?;
            clock::sleep(LOOK).await;
            let after = delivered().await?;
            if let Some(driver) = before.into_iter().zip(after).position(|(before, after)| after > before) {
                return Ok(driver);
            }
        }
        Err(format!("no worker delivers within {PATIENCE:?}").into())
    }

    async fn begin(&mut self, fault: Fault, driver: usize) -> Result<(), Error> {
        let member = self.members.get_mut(driver).ok_or("there is no such worker")?;
        let signal = match fault {
            Fault::Killed => "KILL",
            Fault::Stopped => "STOP",
            Fault::Ended => "TERM",
            Fault::CutOff => {
                member.cut.send_replace(true);
                return Ok(());
            }
        };
        member.worker.process.signal(signal).await
    }

    /// As before it: the one that was away is back, or another one instead.
    async fn end(&mut self, fault: Fault, driver: usize) -> Result<(), Error> {
        match fault {
            Fault::Killed | Fault::Ended => {
                drop(self.members.remove(driver));
                return self.join().await;
            }
            Fault::Stopped => self.members[driver].worker.process.signal("CONT").await?,
            Fault::CutOff => {
                self.members[driver].cut.send_replace(false);
            }
        }
        Ok(())
    }

    async fn leave(self) -> Result<(), Error> {
        for member in self.members {
            member.worker.process.stop().await?;
        }
        self.stage.remove(&self.destination).await
    }
}

/// A way to the broker that can be cut without either end knowing: its URL.
async fn way(url: &str) -> Result<(String, watch::Sender<bool>), Error> {
    let (before, after) = url.rsplit_once('@').ok_or("the broker's URL names no user")?;
    let (to, after) = after.split_once('/').unwrap_or((after, ""));
    let to: SocketAddr = to.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, (cut, is_cut)) = (listener.local_addr()?, watch::channel(false));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            let (near, far) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near.0, far.1, is_cut.clone()));
            tokio::spawn(carry(far.0, near.1, is_cut.clone()));
        }
    });
    Ok((format!("{before}@{address}/{after}"), cut))
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let Some(bytes) = bytes.get(..read) else { return };
        if is_cut.wait_for(|cut| !cut).await.is_err() || to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
