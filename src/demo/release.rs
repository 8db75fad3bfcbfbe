//! Which RabbitMQ a private node is: the machine's own, or a release that is installed in a folder of its own, for tests.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::node::NodeError;

/// The release that tests want, as `4.3`; without it the machine's own is used.
const WANTED: &str = "SLUICE_TEST_RABBITMQ";
/// Where the packages keep the scripts themselves; those on the PATH change the user first.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// Runs a program inside another root, with the node's folder at the same path there. The mounts are seen by that program alone and end with it;
/// it is this process in the end, so its id is the node's.
const INSIDE: &str = r#"set -e
root=$1 folder=$2; shift 2
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind /etc/hosts "$root/etc/hosts"
mount -t tmpfs none "$root/tmp"
mkdir -p "$root$folder"
mount --bind "$folder" "$root$folder"
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$folder" "$@""#;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// None where they are the machine's own.
    root: Option<PathBuf>,
}

impl Release {
    /// The one that the environment asks for.
    ///
    /// # Errors
    /// It is not installed.
    pub(super) fn wanted() -> Result<Self, NodeError> {
        let root = environment(WANTED).map(|version| cache().join(format!("sluice/rabbitmq-{version}")));
        let release = Self { root };
        for program in ["rabbitmq-server", "rabbitmqctl"] {
            let program = script(program);
            let program = match &release.root {
                Some(root) => root.join(program.strip_prefix("/").unwrap_or(&program)),
                None => program,
            };
            if !program.exists() {
                return Err(NodeError::NotInstalled(program));
            }
        }
        Ok(release)
    }

    /// How to run one of RabbitMQ's scripts for the node in `folder`.
    pub(super) fn script(&self, name: &str, folder: &Path) -> Command {
        self.program(script(name), folder)
    }

    /// How to run Erlang's port mapper for it.
    pub(super) fn port_mapper(&self, folder: &Path) -> Command {
        self.program("epmd".into(), folder)
    }

    fn program(&self, program: PathBuf, folder: &Path) -> Command {
        let Some(root) = &self.root else { return Command::new(program) };
        let mut command = Command::new("unshare");
        command.arg("--mount");
        // Whoever is not root becomes it in a namespace of their own.
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["sh", "-c", INSIDE, "inside"]).arg(root).arg(folder).arg(program);
        command
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(SCRIPTS).join(name)
}

/// As `deploy/install-dependencies.sh` has it.
fn cache() -> PathBuf {
    let own = environment("XDG_CACHE_HOME").map(PathBuf::from);
    own.unwrap_or_else(|| PathBuf::from(environment("HOME").unwrap_or_default()).join(".cache"))
}

#[expect(clippy::disallowed_methods, reason = "which broker the tests run on is no part of the configuration")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
