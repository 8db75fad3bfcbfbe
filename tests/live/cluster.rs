//! Three RabbitMQ nodes that are one broker.

use sluice::demo::node::{Node, Options};

use crate::support::own_node;

/// The nodes; each may be killed and started again.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    pub async fn of_three() -> Self {
        let mut nodes = vec![own_node().await];
        for _ in 1..3 {
            let dir = tempfile::Builder::new().prefix("sluice-live-").tempdir().unwrap().keep();
            nodes.push(Node::join(&dir, Options::default(), &nodes[0]).await.unwrap());
        }
        let online = nodes[0].ctl(&["await_online_nodes", "3", "--timeout", "60"]).await.unwrap();
        assert!(!online.contains("rror"), "{online}");
        // As docs/operations.md advises for 4.3, which would keep for a minute what was in hand over a dead node. Brokers before refuse it.
        let policy = "{\"consumer-disconnected-timeout\": 5000}";
        nodes[0].ctl(&["set_policy", "sluice", "^test-", policy, "--apply-to", "quorum_queues"]).await.unwrap();
        Self { nodes }
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
}
