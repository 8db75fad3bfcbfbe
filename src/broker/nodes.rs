//! Where the broker's nodes are, and in which order they are tried. Never shows a password.

use lapin::uri::{AMQPScheme, AMQPUri};
use secrecy::{ExposeSecret, SecretString};

/// The URLs of one broker: of its only node, or of each node of a cluster.
#[derive(Clone, Debug)]
pub struct NodeUrls(Vec<SecretString>);

impl NodeUrls {
    /// The URLs in these texts. A text may hold several, with commas or spaces between: as an environment variable does.
    #[must_use]
    pub fn of(texts: &[String]) -> Self {
        Self(texts.iter().flat_map(|text| split(text)).map(SecretString::from).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SecretString> {
        self.0.iter()
    }

    /// Whether they are the same, in the same order.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let texts = |urls: &Self| urls.iter().map(|url| url.expose_secret().to_owned()).collect::<Vec<_>>();
        texts(self) == texts(other)
    }

    /// The first, from 0, that leads to another virtual host than the one before all others. One that cannot be read is not.
    #[must_use]
    pub fn astray(&self) -> Option<usize> {
        let hosts: Vec<_> = self.iter().map(|url| parse(url).map(|uri| uri.vhost)).collect();
        let first = hosts.first()?.as_ref()?;
        hosts.iter().position(|host| host.as_ref().is_some_and(|host| host != first))
    }

    /// The nodes by their places in the list, each once: in its order round about, from the one after `lost`, else from any.
    pub(super) fn order(&self, lost: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        let count = self.0.len();
        let first = lost.map_or_else(|| fastrand::usize(..count.max(1)), |lost| lost + 1);
        (0..count).map(move |step| (first + step) % count)
    }

    /// What to connect to, if it can be read.
    pub(super) fn uri(&self, node: usize) -> Option<AMQPUri> {
        self.0.get(node).and_then(parse)
    }

    /// A node's URL without user and password.
    pub(super) fn describe(&self, node: usize) -> String {
        let Some(uri) = self.uri(node) else { return "an unreadable URL".to_owned() };
        let scheme = if uri.scheme == AMQPScheme::AMQPS { "amqps" } else { "amqp" };
        format!("{scheme}://{}:{} (virtual host {:?})", uri.authority.host, uri.authority.port, uri.vhost)
    }
}

impl From<&str> for NodeUrls {
    fn from(text: &str) -> Self {
        Self::of(&[text.to_owned()])
    }
}

impl From<String> for NodeUrls {
    fn from(text: String) -> Self {
        Self::of(&[text])
    }
}

// The parser's own message repeats the URL, password and all: it is not passed on.
fn parse(url: &SecretString) -> Option<AMQPUri> {
    url.expose_secret().parse().ok()
}

/// A comma or space is a border only where another URL begins behind it: a password may hold one.
fn split(text: &str) -> Vec<String> {
    const BORDERS: &[char] = &[',', ' ', '\t', '\r', '\n'];
    let mut urls: Vec<String> = Vec::new();
    for piece in text.split_inclusive(BORDERS) {
        match urls.last_mut() {
            Some(url) if !begins_a_url(piece) => url.push_str(piece),
            _ => urls.push(piece.to_owned()),
        }
    }
    let trimmed = urls.iter().map(|url| url.trim_matches(BORDERS).to_owned());
    let urls: Vec<_> = trimmed.filter(|url| !url.is_empty()).collect();
    // Nothing at all is one that is empty: that is a problem to tell.
    if urls.is_empty() { vec![String::new()] } else { urls }
}

fn begins_a_url(piece: &str) -> bool {
    piece.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(urls: &NodeUrls) -> Vec<&str> {
        urls.iter().map(ExposeSecret::expose_secret).collect()
    }

    #[test]
    fn a_described_url_shows_no_user_and_no_password() {
        let urls = NodeUrls::from("amqps://ann:s3cret@mq.example.com:5671/orders");
        assert_eq!(urls.describe(0), "amqps://mq.example.com:5671 (virtual host \"orders\")");
        assert!(!format!("{urls:?}").contains("s3cret"));
    }

    #[test]
    fn one_text_may_hold_several_urls() {
        for text in ["amqp://a,amqps://b", "amqp://a amqps://b", "  amqp://a,\n  amqps://b\n", ",amqp://a, ,amqps://b,"]
        {
            assert_eq!(texts(&NodeUrls::from(text)).split_first(), Some((&"amqp://a", &["amqps://b"][..])), "{text:?}");
        }
    }

    #[test]
    fn a_comma_in_a_password_is_a_part_of_it() {
        let urls = NodeUrls::from("amqp://ann:a,b c@one,amqp://ann:a,b c@two");
        assert_eq!(texts(&urls), ["amqp://ann:a,b c@one", "amqp://ann:a,b c@two"]);
    }

    #[test]
    fn each_node_is_tried_once_in_order_and_a_lost_one_last() {
        let urls = NodeUrls::from("amqp://a amqp://b amqp://c");
        let order = |lost| urls.order(Some(lost)).collect::<Vec<_>>();
        assert_eq!([order(0), order(1), order(2)], [[1, 2, 0], [2, 0, 1], [0, 1, 2]]);
        assert_eq!(NodeUrls::from("amqp://a").order(Some(0)).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn without_a_lost_one_any_is_the_first() {
        let urls = NodeUrls::from("amqp://a amqp://b amqp://c");
        let firsts: std::collections::BTreeSet<_> = (0..200).filter_map(|_| urls.order(None).next()).collect();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn one_that_leads_to_another_virtual_host_is_found() {
        let astray = |text: &str| NodeUrls::from(text).astray();
        assert_eq!(astray("amqp://a amqp://b/%2f amqp://c/%2F"), None);
        assert_eq!(astray("amqp://a/x amqp://b/x amqp://c/y"), Some(2));
    }
}
