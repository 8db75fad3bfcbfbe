//! `[[notify]]`: a webhook that is told of new issues, of issues that come again, and of those that are over.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;
use uuid::Uuid;

use super::Config;
use crate::mapping::Expression;
use crate::section::{ConfigProblem, SecretTemplate, Section};

/// What happens to an issue, by the names of `on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It is there for the first time.
    New,
    /// It was acknowledged and came again.
    Again,
    /// It is over.
    Over,
}

impl What {
    const ALL: [(&'static str, Self); 3] = [("new", Self::New), ("again", Self::Again), ("over", Self::Over)];

    /// Its name in the configuration and in notifications.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Again => "again",
            Self::Over => "over",
        }
    }
}

/// Where notifications go, and which.
#[derive(Clone)]
pub struct Notify {
    /// The webhook. A part of its path may be a secret.
    pub url: Url,
    /// Its headers beside those that Sluice sends itself.
    pub headers: HeaderMap,
    /// What makes the body of a notification; the notification as it is where there is none.
    pub body: Option<Arc<Expression>>,
    /// Which changes it is told of.
    pub on: Vec<What>,
    /// Whose; of all where none is named.
    pub destinations: Vec<String>,
    /// Where people find the console, for the link in a notification.
    pub console: Option<Url>,
    /// Time for one request.
    pub timeout: Duration,
    /// Digest of how it is written and what that refers to: another one means another webhook.
    pub source: String,
}

impl std::fmt::Debug for Notify {
    /// Without the webhook's path, which lets whoever knows it send.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url, on, destinations, .. } = self;
        let host = url.host_str();
        f.debug_struct("Notify")
            .field("host", &host)
            .field("on", on)
            .field("destinations", destinations)
            .finish_non_exhaustive()
    }
}

impl Notify {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let written = section.written();
        section.must_have("url", "{ env = \"SLUICE_NOTIFY_URL\" }");
        let url = section.url("url");
        let headers = headers(section);
        let body = section.has("body").then(|| section.expression("body"));
        let on = section.texts("on").map(|names| {
            let known = |name: &String| What::ALL.iter().find(|(known, _)| known == name).map(|(_, what)| *what);
            let wrong = names.iter().find(|name| known(name).is_none());
            if let Some(wrong) = wrong {
                section.problem("on", format!("{wrong:?} is not known; write some of \"new\", \"again\", \"over\""));
            }
            names.iter().filter_map(known).collect()
        });
        let destinations = section.texts("destinations").unwrap_or_default();
        let console = section.url("console");
        let timeout = section.duration("timeout", Duration::from_secs(1)..=Duration::from_mins(1));
        section.expect(&["body"]);
        if section.failed() {
            return None;
        }
        let digest = format!("{written}{:?}", section.resolved());
        Some(Self {
            url: url?,
            source: Uuid::new_v5(&Uuid::NAMESPACE_OID, digest.as_bytes()).to_string(),
            headers,
            body: body.flatten().map(Arc::new),
            on: on.unwrap_or_else(|| What::ALL.iter().map(|(_, what)| *what).collect()),
            destinations,
            console,
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
        })
    }

    /// Whether it is told of that.
    #[must_use]
    pub fn wants(&self, what: What, destination: Option<&str>) -> bool {
        let named = |name: &str| self.destinations.iter().any(|destination| destination == name);
        self.on.contains(&what) && (self.destinations.is_empty() || destination.is_some_and(named))
    }
}

/// Warns of webhooks for destinations that are not there.
pub(super) fn check(root: &Section<'_>, config: &Config) -> Vec<ConfigProblem> {
    let named = config.notify.iter().flat_map(|one| &one.destinations);
    let missing = named.filter(|name| !config.destinations.contains_key(*name));
    missing
        .map(|name| root.warning("notify", format!("no destination is called {name:?}, so nothing is told of it")))
        .collect()
}

fn headers(section: &mut Section<'_>) -> HeaderMap {
    let mend = |name: &str| match name.parse::<HeaderName>() {
        Err(_) => Some("is not a header name".to_owned()),
        Ok(name) if ["content-length", "host", "connection", "transfer-encoding"].contains(&name.as_str()) => {
            Some("cannot be set: Sluice sends the right one, so remove it".to_owned())
        }
        Ok(_) => None,
    };
    let mut headers = HeaderMap::new();
    for (text, template) in section.table_of_templates("headers", mend).unwrap_or_default() {
        let value = match &template {
            SecretTemplate::Text(text) => HeaderValue::from_str(secrecy::ExposeSecret::expose_secret(text)).ok(),
            SecretTemplate::Jq(_) => {
                section.problem("headers", format!("{text:?} cannot be made by jq; write it out"));
                continue;
            }
        };
        match (text.parse::<HeaderName>(), value) {
            (Ok(name), Some(mut value)) => {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            (Err(_), _) | (_, None) => {
                section.problem("headers", format!("the value of {text:?} has a character that a header cannot carry"));
            }
        }
    }
    headers
}
