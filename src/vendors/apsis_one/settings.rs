//! An APSIS One destination's own keys.

use secrecy::{ExposeSecret as _, SecretString};

use super::address;
use super::token::ClientCredentials;
use crate::gate::{Limit, Window};
use crate::section::Section;

/// "Consecutive operations using the same profile key – up to 10 requests per second."
const PROFILE_LIMIT: Limit = Limit { count: 10, window: Window::Second };

/// One account: where it is, and what stands in for fields that an event leaves out.
#[derive(Debug)]
pub(super) struct Settings {
    /// The API's address without a slash at its end.
    pub base: String,
    pub keyspace: Option<String>,
    pub section: Option<String>,
    /// What each profile's requests are held to.
    pub profile_limit: Limit,
    /// Most events in one request.
    pub batch_max: usize,
}

impl Settings {
    pub fn read(section: &mut Section<'_>) -> Option<(Self, ClientCredentials)> {
        let base = base(section);
        let client_id = credential(section, "client_id");
        let client_secret = credential(section, "client_secret");
        let keyspace = discriminator(section, "keyspace");
        let section_name = discriminator(section, "section");
        let profile_limit = profile_limit(section);
        let batch_max = section.integer("batch_max", 1..=10_000).and_then(|count| usize::try_from(count).ok());
        let base = base?;
        let endpoint = address::token(&base).parse().ok()?;
        let credentials = ClientCredentials { endpoint, client_id: client_id?, client_secret: client_secret? };
        let settings =
            Self { base, keyspace, section: section_name, profile_limit, batch_max: batch_max.unwrap_or(100) };
        Some((settings, credentials))
    }
}

fn base(section: &mut Section<'_>) -> Option<String> {
    let regions = [("eu", "https://api.apsis.one"), ("apac", "https://api-apac.apsis.one")];
    let region = section.choice("region", &regions).unwrap_or("https://api.apsis.one");
    let given = section.has("base_url");
    let Some(url) = section.url("base_url") else { return (!given).then(|| region.to_owned()) };
    if url.query().is_some() || url.fragment().is_some() {
        section.problem("base_url", "must be the API's address alone; remove what stands from the ? or # on");
        return None;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// Half of the client credentials.
fn credential(section: &mut Section<'_>, key: &str) -> Option<SecretString> {
    let secret = section.required_secret(key)?;
    if secret.expose_secret().contains(|c: char| c.is_control()) {
        section.problem(key, "has a control character, as a line break; copy it again");
        return None;
    }
    Some(secret)
}

fn discriminator(section: &mut Section<'_>, key: &str) -> Option<String> {
    let name = section.text(key)?;
    if let Some(why) = address::refusal(&name) {
        section.problem(key, why);
        return None;
    }
    Some(name)
}

fn profile_limit(section: &mut Section<'_>) -> Limit {
    let Some(text) = section.text("profile_limit") else { return PROFILE_LIMIT };
    text.parse().unwrap_or_else(|error: crate::gate::LimitError| {
        let said = if section.is_referred("profile_limit") {
            "what it refers to is not a limit, such as \"10/s\"".to_owned()
        } else {
            error.to_string()
        };
        section.problem("profile_limit", said);
        PROFILE_LIMIT
    })
}
