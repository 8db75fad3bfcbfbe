//! `[suppression]`: whether people who asked for it are not written to, and the secret that they are remembered by.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::Destination;
use crate::person::{PersonKey, SHORTEST_SECRET};
use crate::section::{ConfigProblem, Section};

/// `[suppression]`.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// What digests of people are made with.
    pub key: PersonKey,
}

impl Suppression {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let secret = section.required_secret("key")?;
        let bytes = secret.expose_secret().trim().len();
        if bytes < SHORTEST_SECRET {
            let mend = format!(
                "has {bytes} bytes; at least {SHORTEST_SECRET} are needed, so that nobody can try addresses; make a key with: openssl rand -base64 32"
            );
            section.problem("key", mend);
            return None;
        }
        Some(Self { key: PersonKey::new(secret.expose_secret().trim()) })
    }
}

/// Destinations heed who is suppressed where there is a key, and start anew when it is another. Gives those that cannot.
pub(super) fn settle(
    all: &Section<'_>,
    destinations: &mut BTreeMap<String, Destination>,
    suppression: Option<&Suppression>,
) -> Vec<ConfigProblem> {
    let mut doubtful = Vec::new();
    for (name, destination) in destinations {
        let Some(suppression) = suppression else { continue };
        if destination.person.is_none() {
            let said = "does not say whom its events are about, so [suppression] does not hold here: add person = { jq = \"…\" }, as in \
                        person = { jq = \".user.email\" }; or person = { jq = \"null\" } where they are about nobody";
            doubtful.push(all.warning(name, said.to_owned()));
            continue;
        }
        destination.person_key = Some(suppression.key.clone());
        let digest = format!("{}{}", destination.source, suppression.key.id());
        destination.source = Uuid::new_v5(&Uuid::NAMESPACE_OID, digest.as_bytes()).to_string();
    }
    doubtful
}

#[cfg(test)]
mod tests {
    use crate::config::{self, Config, Problems};

    const KEY: &str = "a secret of thirty-two bytes, or more";

    fn parse(section: &str, person: &str) -> Result<Config, Problems> {
        let text = format!(
            "{section}\n[broker]\nurl = \"amqp://localhost\"\n[destinations.hook]\nvendor = \"http\"\nurl = \"https://h.example\"\n\
             subscribe = [\"#\"]\nlimits = [\"1/s\"]\n{person}"
        );
        config::parse("sluice.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()))
    }

    fn section(key: &str) -> String {
        format!("[suppression]\nkey = {key:?}")
    }

    const PERSON: &str = "person = { jq = \".user\" }";

    #[test]
    fn a_key_is_long_enough_to_keep_others_from_trying() {
        let said = parse(&section("short"), PERSON).unwrap_err().to_string();
        assert!(
            said.contains("sluice.toml:2: suppression.key: has 5 bytes") && said.contains("openssl rand"),
            "{said}"
        );
        assert!(!said.contains("short\""), "{said}");
        let said = parse("[suppression]", PERSON).unwrap_err().to_string();
        assert!(said.contains("SLUICE_SUPPRESSION_KEY"), "{said}");
        let said = parse(&section(KEY), "person = \".user\"").unwrap_err().to_string();
        assert!(said.contains("sluice.toml:10: destinations.hook.person: must be { jq"), "{said}");
    }

    #[test]
    fn a_destination_starts_anew_when_the_key_is_another_or_gone() {
        let sources = [section(KEY), section(&KEY.replace('a', "b")), String::new()];
        let source = |text: &String| parse(text, PERSON).unwrap().destinations.remove("hook").unwrap().source;
        let [one, other, none] = &sources;
        assert_eq!(source(one), source(one));
        assert!(source(one) != source(other) && source(one) != source(none));
        let without = |text: &String| parse(text, "").unwrap().destinations.remove("hook").unwrap().source;
        assert_eq!(without(one), without(none), "it says of nobody");
    }

    #[test]
    fn a_destination_that_does_not_say_whom_its_events_are_about_is_doubtful() {
        let warned = |person| parse(&section(KEY), person).unwrap().warnings.len();
        assert_eq!((warned(""), warned(PERSON), warned("person = { jq = \"null\" }")), (1, 0, 0));
        assert!(parse("", "").unwrap().warnings.is_empty());
    }
}
