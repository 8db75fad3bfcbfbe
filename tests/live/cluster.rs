//! Three RabbitMQ nodes that are one broker.

use sluice::demo::node::{Node, Options};
use tokio::sync::{Mutex, MutexGuard};

use crate::wires::Wires;
use crate::worker::stage::until;

/// As docs/install.md advises: a node that is cut off or frozen is seen after 6 to 10 s, and one that was cut off from most of the
/// others serves nobody.
const ADVISED: &str = "net_ticktime = 8\ncluster_partition_handling = pause_minority";
/// As it advises for 4.3, which would keep for a minute what was in hand over a dead node. Brokers before refuse it.
const ADVISED_POLICY: &str = "{\"consumer-disconnected-timeout\": 1000}";

/// Three nodes at a time are enough for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// The nodes; each may be killed and started again.
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// The wires between them.
    pub wires: Wires,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    pub async fn of_three() -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let wires = Wires::new().await;
        let options = Options { settings: ADVISED, port_mapper: Some(wires.port), ..Options::default() };
        let dir = || tempfile::Builder::new().prefix("sluice-live-").tempdir().unwrap().keep();
        let mut nodes = vec![Node::start(&dir(), options).await.unwrap()];
        for _ in 1..3 {
            nodes.push(Node::join(&dir(), options, &nodes[0]).await.unwrap());
        }
        let cluster = Self { nodes, wires, _turn: turn };
        cluster.all_online().await;
        cluster.nodes[0]
            .ctl(&["set_policy", "sluice", "^test-", ADVISED_POLICY, "--apply-to", "quorum_queues"])
            .await
            .unwrap();
        cluster
    }

    /// Waits until each node knows that all are up.
    pub async fn all_online(&self) {
        for node in &self.nodes {
            until("three nodes are up", async || {
                !node.ctl(&["await_online_nodes", "3", "--timeout", "60"]).await.unwrap().contains("rror")
            })
            .await;
        }
    }

    /// All nodes' URLs, as `[broker] url` takes them in one string.
    pub fn urls(&self) -> String {
        self.nodes.iter().map(Node::url).collect::<Vec<_>>().join(",")
    }

    /// The place of the node that a log line's `at` tells of.
    pub fn node_at(&self, at: &str) -> usize {
        let address = |node: &Node| node.url().split(['@', '/']).nth(3).unwrap().to_owned();
        self.nodes.iter().position(|node| at.contains(&format!("{} ", address(node)))).unwrap()
    }

    /// The place of the node that leads a quorum queue, as one of the nodes knows it.
    pub async fn leader_of(&self, queue: &str) -> usize {
        let listed = self.nodes[0].ctl(&["list_queues", "--quiet", "name", "leader"]).await.unwrap();
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(queue));
        let leader = line.unwrap_or_else(|| panic!("{queue} is not in {listed}")).to_owned();
        self.nodes.iter().position(|node| leader.contains(&format!("{}@", node.name()))).unwrap()
    }
}
