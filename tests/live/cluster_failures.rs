//! Three workers on three nodes under load: a node is killed, cut off or frozen, and deliveries go on. They want the machine for themselves:
//! `cargo test --all-features --test live cluster_failures -- --ignored --test-threads 1 --nocapture`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice::demo::node::Node;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::failover::connected_to;
use crate::support::LONG;
use crate::worker::client::Client;
use crate::worker::lease::Fellow;
use crate::worker::stage::{PX, Stage, until};

/// Events a second, published and delivered.
const RATE: u64 = 500;
/// Published ahead, so that a gap in publishing is none in deliveries.
const AHEAD: u64 = 20 * RATE;
/// How long the producer waits for a node before it goes to the next.
const IMPATIENT: Duration = Duration::from_secs(5);
/// Deliveries go on once they have for so long.
const STEADY: Duration = Duration::from_secs(4);

/// A busy machine is silent for so long without any fault.
const HICCUP: Duration = Duration::from_secs(2);

/// Where a fault hits.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// The node of the driver's lease.
    Lease,
    /// The node of the driver's deliveries.
    Deliveries,
    /// The node that leads the destination's queue.
    Leader,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Killed,
    /// From the other nodes, not from its clients.
    CutOff,
    Frozen,
}

/// Who publishes for as long as it is there.
struct Producer {
    enough: Arc<AtomicBool>,
    publishing: JoinHandle<u64>,
}

impl Producer {
    fn start(cluster: &Cluster, prefix: &str) -> Self {
        let enough = Arc::<AtomicBool>::default();
        let urls: Vec<_> = cluster.nodes.iter().map(Node::url).collect();
        let publishing = tokio::spawn(publish_on(urls, prefix.to_owned(), Arc::clone(&enough)));
        Self { enough, publishing }
    }

    /// How many events were confirmed in all.
    async fn end(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.publishing.await.unwrap()
    }
}

/// Publishes through whatever node takes it, until each event is confirmed.
async fn publish_on(urls: Vec<String>, prefix: String, enough: Arc<AtomicBool>) -> u64 {
    let (began, mut next) = (Instant::now(), 0);
    for url in urls.iter().cycle() {
        let connecting = Client::try_connect(url, &prefix);
        let Ok(Ok(client)) = tokio::time::timeout(IMPATIENT, connecting).await else { continue };
        loop {
            if enough.load(Ordering::Relaxed) {
                return next;
            }
            let due = AHEAD + u64::try_from(began.elapsed().as_millis()).unwrap() * RATE / 1000;
            let end = due.min(next + RATE / 5);
            let publishing = client.try_publish_all("product.x", next..end);
            let Ok(Ok(true)) = tokio::time::timeout(IMPATIENT, publishing).await else { break };
            next = end;
            if end == due {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    next
}

/// Three workers, three nodes and a producer.
struct Scene {
    cluster: Cluster,
    stage: Stage,
    fellows: Vec<Fellow>,
    producer: Producer,
    /// How often deliveries are looked at, each time for some 12 s, while the fault lasts.
    looks_more: usize,
}

impl Scene {
    async fn begin(workers: usize) -> Self {
        let cluster = Cluster::of_three().await;
        let stage = Stage::at_work(&cluster.urls(), &format!("limits = [\"{RATE}/s\"]")).await;
        let fellows: Vec<_> = (1..workers).map(|_| Fellow::start(&stage)).collect();
        for fellow in &fellows {
            until("another worker is ready", async || fellow.is_ready().await).await;
        }
        let producer = Producer::start(&cluster, &stage.prefix);
        stage.arrived(PX, 3 * RATE).await;
        Self { cluster, stage, fellows, producer, looks_more: 0 }
    }

    /// The log of the worker that drives.
    async fn drivers_log(&self) -> String {
        loop {
            if self.stage.shown("px").await["drives"] == true {
                return self.stage.log();
            }
            for fellow in &self.fellows {
                if fellow.shown().await["drives"] == true {
                    return fellow.log();
                }
            }
        }
    }

    async fn find(&self, victim: Victim) -> usize {
        match victim {
            Victim::Lease => self.cluster.node_at(&connected_to(&self.drivers_log().await, "leasing")),
            Victim::Deliveries => self.cluster.node_at(&connected_to(&self.drivers_log().await, "consuming")),
            Victim::Leader => self.cluster.leader_of(&format!("{}.px", self.stage.prefix)).await,
        }
    }

    /// Waits until deliveries are steady again, and returns the longest time without any.
    async fn silence(&self, patience: Duration) -> Duration {
        let began = Instant::now();
        let (mut longest, mut last, mut seen, mut since) = (Duration::ZERO, began, self.stage.seen(PX).distinct, began);
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (now, distinct) = (Instant::now(), self.stage.seen(PX).distinct);
            let silent = now - last;
            longest = longest.max(silent);
            if silent > HICCUP {
                since = now;
            }
            if distinct != seen {
                (seen, last) = (distinct, now);
            }
            let steady = now - since > STEADY && now - last < HICCUP;
            // A fault is not noticed at once.
            if steady && now - began > Duration::from_secs(12) {
                return longest;
            }
            assert!(now - began < patience, "deliveries do not go on");
        }
    }

    /// Brings a fault about, waits until deliveries go on, mends it; returns the longest time without a delivery.
    async fn survive(&mut self, fault: Fault, victim: Victim, patience: Duration) -> Duration {
        let node = self.find(victim).await;
        let pid = self.cluster.nodes[node].pid().unwrap().to_string();
        let signal = async |name: &str| {
            assert!(tokio::process::Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
        };
        match fault {
            Fault::Killed => self.cluster.nodes[node].kill_hard().await.unwrap(),
            Fault::CutOff => self.cluster.wires.cut_off(Some(&self.cluster.nodes[node].name())),
            Fault::Frozen => signal("STOP").await,
        }
        let mut silence = self.silence(patience).await;
        // The consumers of such a node may stay counted, and nobody is to yield to them.
        if fault != Fault::Killed {
            for _ in 0..self.looks_more {
                silence = silence.max(self.silence(patience).await);
            }
        }
        // A node that was cut off or frozen comes back by itself, but not always soon.
        match fault {
            Fault::Killed => {}
            Fault::CutOff => self.cluster.wires.cut_off(None),
            Fault::Frozen => signal("CONT").await,
        }
        self.cluster.nodes[node].kill_hard().await.unwrap();
        self.cluster.nodes[node].restart().await.unwrap();
        self.cluster.all_online().await;
        silence
    }

    /// Each event that was confirmed arrives.
    async fn end(self) {
        let Self { cluster, mut stage, fellows, producer, .. } = self;
        let confirmed = producer.end().await;
        let client = Client::connect(&cluster.nodes[0].url(), &stage.prefix).await;
        until("all were taken", async || stage.seen(PX).distinct >= confirmed && client.depth("px").await == Some(0))
            .await;
        assert_eq!((stage.seen(PX).distinct, client.depth("px.dead").await), (confirmed, Some(0)));
        let logs = fellows.iter().map(Fellow::log).chain([stage.log()]);
        assert!(logs.into_iter().all(|log| !log.contains("another program")), "nobody else consumes");
        drop(fellows);
        assert_eq!(stage.stop().await, Some(0));
    }
}

#[expect(clippy::print_stdout, reason = "figures, for whoever asks with --nocapture")]
fn tell(fault: Fault, victim: Victim, silence: Duration) {
    println!("{fault:?} {victim:?}: {:.1} s without a delivery", silence.as_secs_f64());
}

async fn survives(workers: usize, faults: &[(Fault, Victim)]) {
    let mut scene = Scene::begin(workers).await;
    for (fault, victim) in faults {
        let silence = scene.survive(*fault, *victim, LONG).await;
        tell(*fault, *victim, silence);
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three nodes and three workers under load want the machine for themselves"]
async fn deliveries_go_on_when_the_node_of_the_driver_is_killed_and_then_the_leader_of_its_queue() {
    survives(3, &[(Fault::Killed, Victim::Lease), (Fault::Killed, Victim::Leader)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three nodes and three workers under load want the machine for themselves"]
async fn deliveries_go_on_when_a_node_is_cut_off_from_the_others() {
    survives(3, &[(Fault::CutOff, Victim::Lease), (Fault::CutOff, Victim::Leader)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three nodes and three workers under load want the machine for themselves"]
async fn deliveries_go_on_when_a_node_is_frozen() {
    survives(3, &[(Fault::Frozen, Victim::Lease), (Fault::Frozen, Victim::Deliveries)]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three nodes and three workers under load want the machine for themselves"]
async fn deliveries_go_on_for_as_long_as_a_node_is_away() {
    let mut scene = Scene::begin(3).await;
    scene.looks_more = 4;
    for fault in [Fault::CutOff, Fault::Frozen] {
        let silence = scene.survive(fault, Victim::Deliveries, LONG).await;
        tell(fault, Victim::Deliveries, silence);
    }
    scene.end().await;
}

// On 4.3 such a node serves its clients for as long as it is cut off.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "three nodes and three workers under load want the machine for themselves"]
async fn a_worker_leaves_the_node_that_is_cut_off_though_no_other_worker_takes_over() {
    survives(1, &[(Fault::CutOff, Victim::Lease)]).await;
}

/// For figures: `ROUNDS=3 SLUICE_TEST_RABBITMQ=4.3 cargo test --all-features --test live measured -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long: it is for figures"]
async fn measured_silences_of_a_cluster_that_loses_nodes() {
    let rounds = std::env::var("ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let mut scene = Scene::begin(3).await;
    for _ in 0..rounds {
        for (fault, victim) in [
            (Fault::Killed, Victim::Lease),
            (Fault::Killed, Victim::Leader),
            (Fault::CutOff, Victim::Lease),
            (Fault::CutOff, Victim::Deliveries),
            (Fault::Frozen, Victim::Lease),
        ] {
            let silence = scene.survive(fault, victim, 3 * LONG).await;
            tell(fault, victim, silence);
        }
    }
    scene.end().await;
}
