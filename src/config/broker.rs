//! `[broker]`: where the events come from, and whose work it is to declare the objects there.

use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use url::Url;

pub use crate::broker::Declare;
use crate::broker::NodeUrls;
use crate::seal::Seal;
use crate::section::Section;

/// Shorter would not bear a busy broker, longer would hold up a failover.
const LEASE: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(30);
const DEFAULT_LEASE: Duration = Duration::from_secs(2);

/// `[broker]`.
#[derive(Clone, Debug)]
pub struct Broker {
    /// `amqp://` or `amqps://`, with user, password and virtual host: of each node that may be connected to.
    pub url: NodeUrls,
    /// What every object's name begins with, before a dot.
    pub prefix: String,
    /// What to do about the exchanges and queues at the start.
    pub declare: Declare,
    /// A larger message is malformed. Bytes of its body.
    pub max_event_bytes: usize,
    /// How often the broker gives a message back before it goes to the dead letters.
    pub delivery_limit: u32,
    /// How long a driver may send after a proof that it still is the driver; who takes over after a crash waits as long.
    pub lease: Duration,
    /// What seals tokens in the ledger at the broker; without it they are not kept there.
    pub ledger_key: Option<Seal>,
    /// Whether what becomes of each event is published to the exchange of receipts.
    pub receipts: bool,
}

impl Broker {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        section.must_have("url", "{ env = \"SLUICE_AMQP_URL\" }");
        let url = section.one_or_more_texts("url").map(|texts| NodeUrls::of(&texts));
        for mend in url.iter().flat_map(mends) {
            section.problem("url", mend);
        }
        let prefix = section.text("prefix").unwrap_or_else(|| "sluice".to_owned());
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if prefix.is_empty()
            || prefix == "amq"
            || prefix.starts_with("amq.")
            || prefix.len() > 64
            || !prefix.chars().all(allowed)
        {
            section.problem(
                "prefix",
                "write 1 to 64 letters, digits, '-', '_' or '.', as in \"sluice\"; \"amq\" is the broker's own",
            );
        }
        let choices = [("create", Declare::Create), ("check", Declare::Check), ("never", Declare::Never)];
        let declare = section.choice("declare", &choices).unwrap_or(Declare::Create);
        let max_event_bytes = section.count("max_event_bytes", 1024..=16 * 1024 * 1024, 256 * 1024);
        // Fewer would dead-letter good events when a broker or a worker restarts a few times in a row.
        let delivery_limit = section.count("delivery_limit", 5..=1_000_000, 20);
        let receipts = section.boolean("receipts").unwrap_or(false);
        let lease = section.duration("lease", LEASE).unwrap_or(DEFAULT_LEASE);
        let ledger_key = section
            .secret("ledger_key")
            .and_then(|key| Seal::new(&key).map_err(|error| section.problem("ledger_key", error.to_string())).ok());
        Some(Self { url: url?, prefix, declare, max_event_bytes, delivery_limit, lease, ledger_key, receipts })
    }

    /// Whether nothing differs.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.url.same_as(&other.url)
            && self.prefix == other.prefix
            && self.declare == other.declare
            && self.max_event_bytes == other.max_event_bytes
            && self.delivery_limit == other.delivery_limit
            && self.lease == other.lease
            && match (&self.ledger_key, &other.ledger_key) {
                (Some(one), Some(other)) => one.is_same(other),
                (one, other) => one.is_none() && other.is_none(),
            }
            && self.receipts == other.receipts
    }
}

/// What is wrong with the URLs, and with which of them.
fn mends(urls: &NodeUrls) -> Vec<String> {
    let count = urls.iter().len();
    let named = |index: usize, mend: &str| {
        if count == 1 { mend.to_owned() } else { format!("URL {} of {count}: {mend}", index + 1) }
    };
    let each = urls.iter().enumerate();
    let mut mends: Vec<_> =
        each.filter_map(|(index, url)| Some(named(index, &url_mend(url.expose_secret())?))).collect();
    if count == 0 {
        mends.push("names no node; write [\"amqp://user:password@host:5672/vhost\", …]".to_owned());
    }
    if let Some(index) = urls.astray().filter(|_| mends.is_empty()) {
        mends.push(named(
            index,
            "leads to another virtual host than the first; all must be nodes of one cluster, and of the same one there",
        ));
    }
    mends
}

/// What is wrong with a broker's URL. Never repeats it: it holds a password.
fn url_mend(text: &str) -> Option<String> {
    match Url::parse(text) {
        Err(_) if text.is_empty() => Some("is empty".to_owned()),
        Err(error) => Some(format!("not a URL ({error}); write one as amqp://user:password@host:5672/vhost")),
        Ok(url) if !matches!(url.scheme(), "amqp" | "amqps") => Some("must begin with amqp:// or amqps://".to_owned()),
        Ok(url) if !url.has_host() => Some("names no host; write amqp://user:password@host:5672/vhost".to_owned()),
        Ok(_) => None,
    }
}
