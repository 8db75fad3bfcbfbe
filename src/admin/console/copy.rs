//! What a page shows as commands for a terminal: to copy. Pure; no command holds a secret.

use std::borrow::Cow;

use crate::dead_letters::Pile;
use crate::dead_letters::filter::Filter;

/// A word of a shell's command, quoted where it must be.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

fn of_pile(pile: Pile) -> &'static str {
    if pile == Pile::Trash { " --trash" } else { "" }
}

/// Shows one letter.
pub(super) fn show(name: &str, letter: &str, pile: Pile) -> String {
    format!("sluice dead show {} {}{}", quoted(name), quoted(letter), of_pile(pile))
}

/// Lists the letters that a filter means.
pub(super) fn list(name: &str, filter: &Filter, pile: Pile) -> String {
    let Filter { reason, group, kind, id, letter, older_than, newer_than, jq } = filter;
    let lists = [("reason", reason), ("group", group), ("type", kind), ("id", id), ("letter", letter)];
    let listed = lists.into_iter().flat_map(|(field, values)| values.iter().map(move |value| (field, value)));
    let single = [("older-than", older_than), ("newer-than", newer_than), ("jq", jq)];
    let single = single.into_iter().filter_map(|(field, value)| value.as_ref().map(|value| (field, value)));
    // One word each: what begins with a dash is still a value.
    let words = listed.chain(single).map(|(field, value)| format!(" {}", quoted(&format!("--{field}={value}"))));
    format!("sluice dead list {}{}{}", quoted(name), words.collect::<String>(), of_pile(pile))
}

/// Asks the API at `site` for a letter; with the token of whoever runs it, where one is needed.
pub(super) fn curl(site: &str, needs_token: bool, name: &str, letter: &str, pile: Pile) -> String {
    let token = if needs_token { " -H \"Authorization: Bearer $SLUICE_TOKEN\"" } else { "" };
    let pile = if pile == Pile::Trash { "?pile=trash" } else { "" };
    let address = format!("{site}/api/v1/destinations/{name}/dead/letters/{letter}{pile}");
    format!("curl -fsS{token} {}", quoted(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_becomes_the_command_that_means_the_same() {
        let filter = Filter {
            reason: vec!["rejected".to_owned(), "expired".to_owned()],
            kind: vec!["shop.*".to_owned()],
            older_than: Some("2h".to_owned()),
            jq: Some(".name == \"O'Neil\"".to_owned()),
            ..Filter::default()
        };
        assert_eq!(
            list("px", &filter, Pile::Trash),
            r#"sluice dead list px --reason=rejected --reason=expired '--type=shop.*' --older-than=2h '--jq=.name == "O'\''Neil"' --trash"#
        );
        assert_eq!(list("px", &Filter::default(), Pile::Dead), "sluice dead list px");
    }

    #[test]
    fn a_letter_is_asked_for_with_the_readers_own_token() {
        assert_eq!(show("px", "0123456789abcdef", Pile::Trash), "sluice dead show px 0123456789abcdef --trash");
        assert_eq!(
            curl("https://sluice.example", true, "px", "0123456789abcdef", Pile::Trash),
            "curl -fsS -H \"Authorization: Bearer $SLUICE_TOKEN\" \
             'https://sluice.example/api/v1/destinations/px/dead/letters/0123456789abcdef?pile=trash'"
        );
        let local = "curl -fsS http://localhost:9464/api/v1/destinations/px/dead/letters/0123456789abcdef";
        assert_eq!(curl("http://localhost:9464", false, "px", "0123456789abcdef", Pile::Dead), local);
        let evil = curl("http://a';rm -rf ~;'", false, "px", "0", Pile::Dead);
        assert!(evil.starts_with(r"curl -fsS 'http://a'\'';rm"), "{evil}");
    }
}
