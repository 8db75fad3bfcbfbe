//! Getters for what is written as a string. Each string may be `{ env = "NAME" }` or `{ file = "/path" }`.

use std::path::Path;

use secrecy::SecretString;
use toml_span::value::{Table, ValueInner};
use url::Url;

use super::{Section, web_address};

impl<'a> Section<'a> {
    /// A string.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let (value, line) = self.take(key)?;
        self.resolve(line, key, value)
    }

    /// A string that has to be there and not empty.
    pub fn required_text(&mut self, key: &str) -> Option<String> {
        self.must_have(key, "\"…\"");
        let text = self.text(key)?;
        self.not_empty(key, text)
    }

    /// A string that is never shown, not empty.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        let text = self.text(key)?;
        self.not_empty(key, text).map(SecretString::from)
    }

    /// A string that is never shown and has to be there.
    pub fn required_secret(&mut self, key: &str) -> Option<SecretString> {
        let variable = format!("SLUICE_{}_{key}", self.name()).to_uppercase().replace(['-', '.'], "_");
        self.must_have(key, &format!("{{ env = \"{variable}\" }}"));
        self.secret(key)
    }

    /// A string, or an array of them.
    pub(crate) fn one_or_more_texts(&mut self, key: &str) -> Option<Vec<String>> {
        let is_array = self.table.get(key).is_some_and(|value| value.as_array().is_some());
        if is_array { self.texts(key) } else { self.text(key).map(|text| vec![text]) }
    }

    /// An array of strings.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.elements(key, "[\"…\"]", |section, line, value| section.resolve(line, key, value))
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
            let message = format!("{} is not known; write one of {}", self.shown(key, &text), words.join(", "));
            self.problem(key, message);
        }
        chosen
    }

    /// An http or https URL without credentials in it.
    pub fn url(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key)?;
        web_address(&text).map_err(|mend| self.problem(key, mend)).ok()
    }

    /// Notes a problem when the key is absent.
    pub(crate) fn must_have(&mut self, key: &str, example: &str) {
        if !self.has(key) {
            let message = format!("missing; add {key} = {example} under [{}]", self.path);
            self.problem(key, message);
        }
    }

    fn not_empty(&mut self, key: &str, text: String) -> Option<String> {
        if text.is_empty() {
            self.problem(key, "is empty");
            return None;
        }
        Some(text)
    }

    /// The string itself, or what the environment or a file has for it.
    pub(super) fn resolve(&mut self, line: usize, key: &str, value: ValueInner<'a>) -> Option<String> {
        let table = match value {
            ValueInner::String(text) => return Some(text.into_owned()),
            ValueInner::Table(table) => table,
            other @ (ValueInner::Integer(_) | ValueInner::Float(_) | ValueInner::Boolean(_) | ValueInner::Array(_)) => {
                self.wrong_type(line, key, "a string", &other);
                return None;
            }
        };
        match self.look_up(&table) {
            Ok(text) => {
                self.resolved.entry(key.to_owned()).or_default().push(text.clone());
                Some(text)
            }
            Err(message) => {
                self.problem_at(line, key, message);
                None
            }
        }
    }

    fn look_up(&self, reference: &Table<'a>) -> Result<String, String> {
        let mut entries = reference.iter().map(|(key, value)| (key.name.as_ref(), value.as_str()));
        match (entries.next(), entries.next()) {
            (Some(("env", Some(name))), None) => {
                (self.source.env)(name).ok_or(format!("the environment variable {name} is not set"))
            }
            (Some(("file", Some(path))), None) => match (self.source.read_file)(Path::new(path)) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
                }
                Err(error) => Err(format!("cannot read {path}: {error}")),
            },
            _ => Err("must be a string, { env = \"NAME\" } or { file = \"/path\" }".to_owned()),
        }
    }
}
