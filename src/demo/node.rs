//! A private RabbitMQ node, in a folder and on ports of its own: nothing it does touches
//! a broker that the machine already runs. Never leaves a process behind.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::ports::free_ports;
use super::release::Release;
use crate::clock;

/// What the nodes of a cluster know each other by, in a node's folder.
const COOKIE: &str = "home/.erlang.cookie";
/// The longest a node may take to start.
const START: Duration = Duration::from_secs(60);
/// The longest it may take to stop when asked to.
const STOP: Duration = Duration::from_secs(20);
/// What an AMQP 0-9-1 client says first; a broker that is up answers with a frame.
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";

/// What a node should offer besides AMQP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The management API and console.
    pub management: bool,
    /// The broker's own metrics for Prometheus.
    pub prometheus: bool,
    /// Further lines of its `rabbitmq.conf`.
    pub settings: &'static str,
    /// Where nodes find each other, in place of a port mapper of its own.
    pub port_mapper: Option<u16>,
}

/// Why a node did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The package is missing.
    #[error(
        "RabbitMQ is not installed ({0} is missing); install it with: apt-get install rabbitmq-server, or, where SLUICE_TEST_RABBITMQ asks for \
         a version, with: deploy/install-dependencies.sh rabbitmq-<version>"
    )]
    NotInstalled(PathBuf),
    /// A file or process could not be made.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended while starting.
    #[error("RabbitMQ ended while it started ({status}); the reason is in {log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Where its output is.
        log: PathBuf,
    },
    /// It did not do as it was told.
    #[error("rabbitmqctl {command} failed: {output}")]
    Refused {
        /// What it was told.
        command: String,
        /// What it printed.
        output: String,
    },
    /// It did not answer in time.
    #[error("RabbitMQ did not answer within {START:?}; the reason is in {0}")]
    TooSlow(PathBuf),
}

/// Kills the processes it is given once its standard input ends, which it does however the owner dies; each only
/// while it still runs in this folder, so never one that merely got the same id later.
const GUARD: &str = r#"trap '' INT TERM HUP; read _; for p; do [ "/proc/$p/cwd" -ef . ] && kill -9 "$p"; done"#;

/// A running node. Its processes end when it is dropped, and also when the program that owns it is killed.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    release: Release,
    options: Options,
    ports: Ports,
    beam: Option<Child>,
    /// None where it is another member's, or not the node's own.
    port_mapper: Option<Child>,
    guard: Option<Child>,
}

/// The ports of one node, all on loopback.
#[derive(Clone, Copy, Debug)]
struct Ports {
    amqp: u16,
    distribution: u16,
    port_mapper: u16,
    management: u16,
    prometheus: u16,
}

impl Node {
    /// Starts a node that keeps everything under `dir`, and returns once it answers.
    ///
    /// # Errors
    /// Any [`NodeError`]; nothing is left running.
    pub async fn start(dir: &Path, options: Options) -> Result<Self, NodeError> {
        let cookie = uuid::Uuid::new_v4().simple().to_string();
        let ports = Ports::free().map_err(doing("find free ports"))?;
        let ports = Ports { port_mapper: options.port_mapper.unwrap_or(ports.port_mapper), ..ports };
        let mut node = Self::prepare(dir, options, ports, &cookie)?;
        if options.port_mapper.is_none() {
            node.port_mapper = Some(start_port_mapper(node.release.port_mapper(&node.dir), &node.dir, ports).await?);
        }
        node.boot().await?;
        Ok(node)
    }

    /// Starts a node, and makes it a member of the cluster that `member` is in. It needs that one's port mapper for as long as it runs.
    ///
    /// # Errors
    /// Any [`NodeError`]; nothing is left running.
    pub async fn join(dir: &Path, options: Options, member: &Self) -> Result<Self, NodeError> {
        let cookie = std::fs::read_to_string(member.dir.join(COOKIE)).map_err(doing("read the member's cookie"))?;
        let ports = Ports::free().map_err(doing("find free ports"))?;
        let ports = Ports { port_mapper: member.ports.port_mapper, ..ports };
        let mut node = Self::prepare(dir, options, ports, &cookie)?;
        node.boot().await?;
        let name = node_name(member.ports);
        for command in [&["stop_app"][..], &["join_cluster", &name], &["start_app"]] {
            node.tell(command).await?;
        }
        Ok(node)
    }

    /// A node that does not run yet.
    fn prepare(dir: &Path, options: Options, ports: Ports, cookie: &str) -> Result<Self, NodeError> {
        let release = Release::wanted()?;
        std::fs::create_dir_all(dir).map_err(doing("make the node's folder"))?;
        let dir = dir.canonicalize().map_err(doing("find the node's folder"))?;
        write_files(&dir, ports, options, cookie).map_err(doing("write the node's files"))?;
        Ok(Self { dir, release, options, ports, beam: None, port_mapper: None, guard: None })
    }

    /// Where it takes AMQP connections.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// Where its management console is, if it was asked for.
    #[must_use]
    pub fn management_url(&self) -> Option<String> {
        self.options.management.then(|| format!("http://127.0.0.1:{}/", self.ports.management))
    }

    /// Where its own metrics are, if they were asked for.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.options.prometheus.then(|| format!("http://127.0.0.1:{}/metrics", self.ports.prometheus))
    }

    /// What the other nodes and the port mapper call it.
    #[must_use]
    pub fn name(&self) -> String {
        node_name(self.ports).replace("@localhost", "")
    }

    /// The process id of the broker while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.beam.as_ref().and_then(Child::id)
    }

    /// `kill -9`: nothing is flushed, nobody is told.
    ///
    /// # Errors
    /// The process could not be killed.
    pub async fn kill_hard(&mut self) -> Result<(), NodeError> {
        if let Some(mut beam) = self.beam.take() {
            beam.kill().await.map_err(doing("kill the node"))?;
        }
        Ok(())
    }

    /// Starts it again after [`Node::kill_hard`] or [`Node::halt`], on the same folder and ports.
    ///
    /// # Errors
    /// Any [`NodeError`].
    pub async fn restart(&mut self) -> Result<(), NodeError> {
        self.halt().await?;
        self.boot().await
    }

    /// Stops the broker gracefully; it can be restarted.
    ///
    /// # Errors
    /// It could not be told or killed.
    pub async fn halt(&mut self) -> Result<(), NodeError> {
        let Some(mut beam) = self.beam.take() else { return Ok(()) };
        if let Some(pid) = beam.id() {
            let told = Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await;
            told.map_err(doing("stop the node"))?;
        }
        if tokio::time::timeout(STOP, beam.wait()).await.is_err() {
            beam.kill().await.map_err(doing("kill the node"))?;
        }
        Ok(())
    }

    /// Stops the broker gracefully, for good.
    ///
    /// # Errors
    /// It could not be told or killed.
    pub async fn stop(mut self) -> Result<(), NodeError> {
        self.halt().await
    }

    /// Runs `rabbitmqctl` against this node and returns what it printed.
    ///
    /// # Errors
    /// It could not be run; a command that fails is returned as its output.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, NodeError> {
        Ok(self.run_ctl(arguments).await?.1)
    }

    /// As [`Node::ctl`], for what must not fail.
    async fn tell(&self, arguments: &[&str]) -> Result<(), NodeError> {
        match self.run_ctl(arguments).await? {
            (status, _) if status.success() => Ok(()),
            (_, output) => Err(NodeError::Refused { command: arguments.join(" "), output }),
        }
    }

    async fn run_ctl(&self, arguments: &[&str]) -> Result<(ExitStatus, String), NodeError> {
        let mut command = self.command("rabbitmqctl");
        command.arg("-n").arg(node_name(self.ports)).args(arguments);
        let output = command.output().await.map_err(doing("run rabbitmqctl"))?;
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        Ok((output.status, printed))
    }

    async fn boot(&mut self) -> Result<(), NodeError> {
        let log = self.dir.join("log/console.log");
        let file = || std::fs::File::options().create(true).append(true).open(&log);
        let out = file().map_err(doing("open the node's log"))?;
        let errors = file().map_err(doing("open the node's log"))?;
        let mut command = self.command("rabbitmq-server");
        command.stdout(out).stderr(errors).stdin(Stdio::null()).kill_on_drop(true);
        let mut beam = command.spawn().map_err(doing("start rabbitmq-server"))?;
        self.guard = Some(self.start_guard(&beam)?);
        let ready = tokio::select! {
            ended = beam.wait() => {
                let status = ended.map_err(doing("wait for rabbitmq-server"))?;
                return Err(NodeError::Ended { status, log });
            }
            ready = tokio::time::timeout(START, answers(self.ports.amqp)) => ready,
        };
        self.beam = Some(beam);
        ready.map_err(|_| NodeError::TooSlow(log))
    }

    fn start_guard(&self, beam: &Child) -> Result<Child, NodeError> {
        let pids =
            [beam.id(), self.port_mapper.as_ref().and_then(Child::id)].into_iter().flatten().map(|pid| pid.to_string());
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "guard"]).args(pids).current_dir(&self.dir).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(doing("start the node's guard"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.release.script(program, &self.dir);
        command.env_clear().envs(environment(&self.dir, self.ports, self.options)).current_dir(&self.dir);
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in self.beam.iter_mut().chain(&mut self.port_mapper) {
            if let Err(error) = child.start_kill() {
                tracing::debug!(%error, "a process of the private RabbitMQ had already ended");
            }
        }
    }
}

impl Ports {
    /// Free ones, which nobody else in this process is given. Another program could still take one before the
    /// node does; then it says so and does not start.
    fn free() -> io::Result<Self> {
        let [amqp, distribution, port_mapper, management, prometheus] = free_ports()?;
        Ok(Self { amqp, distribution, port_mapper, management, prometheus })
    }
}

fn node_name(ports: Ports) -> String {
    format!("sluice{}@localhost", ports.amqp)
}

fn doing(doing: &str) -> impl FnOnce(io::Error) -> NodeError + use<> {
    let doing = doing.to_owned();
    move |source| NodeError::Io { doing, source }
}

fn write_files(dir: &Path, ports: Ports, options: Options, cookie: &str) -> io::Result<()> {
    for folder in ["mnesia", "log", "home", "plugins"] {
        std::fs::create_dir_all(dir.join(folder))?;
    }
    let path = dir.join(COOKIE);
    if !path.exists() {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut &file, cookie.as_bytes())?;
        file.set_permissions(std::fs::Permissions::from_mode(0o400))?;
    }
    // Empty, so that the machine's own settings are not read.
    std::fs::write(dir.join("env.conf"), "")?;
    let Ports { amqp, management, prometheus, .. } = ports;
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
         prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {prometheus}\n\
         loopback_users.guest = true\n{}\n",
        options.settings
    );
    std::fs::write(dir.join("rabbitmq.conf"), settings)
}

fn environment(dir: &Path, ports: Ports, options: Options) -> BTreeMap<&'static str, String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let plugins = [(options.management, "rabbitmq_management"), (options.prometheus, "rabbitmq_prometheus")];
    let plugins: Vec<_> = plugins.into_iter().filter_map(|(wanted, name)| wanted.then_some(name)).collect();
    BTreeMap::from([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", path("home")),
        ("LANG", "C.UTF-8".to_owned()),
        ("ERL_EPMD_PORT", ports.port_mapper.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        // Makes the script become the broker instead of its parent: the child's pid is the broker's.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ("RABBITMQ_CONF_ENV_FILE", path("env.conf")),
        ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
        ("RABBITMQ_NODENAME", node_name(ports)),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_NODE_PORT", ports.amqp.to_string()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("RABBITMQ_MNESIA_BASE", path("mnesia")),
        ("RABBITMQ_LOG_BASE", path("log")),
        ("RABBITMQ_PID_FILE", path("pid")),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", path("plugins")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
        ("RABBITMQ_ENABLED_PLUGINS", plugins.join(",")),
    ])
}

/// In the foreground and as our own child; otherwise the broker would start one that outlives it.
async fn start_port_mapper(mut command: Command, dir: &Path, ports: Ports) -> Result<Child, NodeError> {
    command.args(["-address", "127.0.0.1", "-port"]).arg(ports.port_mapper.to_string()).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(doing("start epmd"))?;
    let listening = async {
        while TcpStream::connect(("127.0.0.1", ports.port_mapper)).await.is_err() {
            clock::sleep(Duration::from_millis(10)).await;
        }
    };
    let silent = || doing("reach epmd")(io::Error::from(io::ErrorKind::TimedOut));
    tokio::select! {
        ended = child.wait() => Err(doing("start epmd")(io::Error::other(format!("it ended: {ended:?}")))),
        up = tokio::time::timeout(START, listening) => up.map(|()| child).map_err(|_| silent()),
    }
}

/// Returns once a broker on this port speaks AMQP.
async fn answers(port: u16) {
    loop {
        if let Ok(true) = tokio::time::timeout(Duration::from_secs(1), greet(port)).await.unwrap_or(Ok(false)) {
            return;
        }
        clock::sleep(Duration::from_millis(50)).await;
    }
}

async fn greet(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(HELLO).await?;
    // A method frame, which is type 1; a broker that cannot answer yet closes.
    Ok(stream.read_u8().await? == 1)
}
