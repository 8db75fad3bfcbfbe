//! A Gainsight PX destination's own keys.

use ::http::{HeaderValue, Uri};
use secrecy::ExposeSecret;

use super::endpoint;
use crate::section::Section;

/// `userType`, as documented.
pub(super) const USER_TYPES: [&str; 4] = ["LEAD", "USER", "VISITOR", "EMPTY_USER_TYPE"];

/// One account: where it is, its key, and what stands in for fields that an event leaves out.
#[derive(Debug)]
pub(super) struct Settings {
    pub endpoint: Uri,
    /// Marked sensitive.
    pub api_key: HeaderValue,
    pub property_key: Option<String>,
    pub user_type: &'static str,
}

impl Settings {
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let region = section.choice(
            "region",
            &[
                ("us", "https://api.aptrinsic.com"),
                ("eu", "https://api-eu.aptrinsic.com"),
                ("us2", "https://api-us2.aptrinsic.com"),
            ],
        );
        let base_url = section.url("base_url");
        let base = base_url.as_ref().map_or(region.unwrap_or("https://api.aptrinsic.com"), url::Url::as_str);
        let endpoint = match endpoint(base) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                section.problem(
                    "base_url",
                    format!("{error}; write the API's address, such as \"https://api.aptrinsic.com\""),
                );
                None
            }
        };
        let api_key = section.required_secret("api_key").and_then(|key| {
            let header = HeaderValue::from_str(key.expose_secret()).ok();
            if header.is_none() {
                section.problem("api_key", "has a character that an HTTP header cannot carry; copy the key again");
            }
            header
        });
        let property_key = section.text("property_key");
        let choices = USER_TYPES.map(|name| (name, name));
        let user_type = section.choice("user_type", &choices).unwrap_or("USER");
        let mut api_key = api_key?;
        api_key.set_sensitive(true);
        Some(Self { endpoint: endpoint?, api_key, property_key, user_type })
    }
}
