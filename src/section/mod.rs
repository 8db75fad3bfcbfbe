//! One table of the configuration file, read key by key: a typed value out of each, or a problem noted at the key's line.
//! What no getter asked for is unknown. Never shows a secret.

mod numbers;
mod problem;
mod strings;
mod templates;
pub(crate) mod web_address;

pub(crate) use numbers::{parse_duration, parse_lasting, show_duration};
pub use problem::ConfigProblem;
pub use templates::SecretTemplate;
pub use web_address::web_address;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

use toml_span::Span;
use toml_span::value::{Table, Value, ValueInner};

/// What a file is read with.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Where each line break stands in the text, in bytes.
    pub line_breaks: &'a [usize],
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub read_file: &'a dyn Fn(&Path) -> io::Result<String>,
}

impl Source<'_> {
    /// The line that `span` begins on, from 1.
    fn line(&self, span: Span) -> usize {
        self.line_breaks.partition_point(|&at| at < span.start) + 1
    }
}

/// One table of the file. Each getter takes its key out; what is left at the end is unknown, so ask for every key
/// before giving up on one. A getter returns `None` for an absent key, and for a wrong one, which is then a problem.
pub struct Section<'a> {
    source: Source<'a>,
    path: String,
    line: usize,
    table: Table<'a>,
    lines: BTreeMap<String, usize>,
    asked: BTreeSet<String>,
    resolved: BTreeMap<String, Vec<String>>,
    problems: Vec<ConfigProblem>,
}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

impl<'a> Section<'a> {
    /// A section of that path, which begins on `line`.
    pub(crate) fn new(source: Source<'a>, path: String, line: usize, table: Table<'a>) -> Self {
        let lines = table.keys().map(|key| (key.name.to_string(), source.line(key.span))).collect();
        let (asked, resolved, problems) = Default::default();
        Self { source, path, line, table, lines, asked, resolved, problems }
    }

    /// The last part of the table's path: for a destination's table, the destination's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Notes a problem at the key's line, whether or not it was read, else at the table's.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        let problem = self.warning(key, message);
        self.problems.push(problem);
    }

    /// A warning about a key; the caller keeps it.
    pub(crate) fn warning(&self, key: &str, message: impl Into<String>) -> ConfigProblem {
        let line = self.lines.get(key).copied().unwrap_or(self.line);
        ConfigProblem { line, key: self.path_of(key), message: message.into() }
    }

    /// Whether this section has a problem.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Whether the key stands in the file and was not read yet.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key stands in the file as `true` and was not read yet.
    #[must_use]
    pub fn is_true(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.as_bool() == Some(true))
    }

    /// Reads a table inside this one with `read`; an absent one as if it were empty.
    pub(crate) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'a>) -> Option<T>) -> Option<T> {
        let line = self.lines.get(key).copied().unwrap_or(self.line);
        let table = match self.take(key) {
            None => Table::new(),
            Some((ValueInner::Table(table), _)) => table,
            Some((other, line)) => {
                let mend = format!("must be a table, as in [{}], not {}", self.path_of(key), article(&other));
                self.problem_at(line, key, mend);
                return None;
            }
        };
        self.inside(key, line, table, read)
    }

    /// Reads a table inside this one with `read`, where it is there.
    pub fn optional<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'a>) -> Option<T>) -> Option<T> {
        if self.has(key) {
            return self.within(key, read);
        }
        self.expect(&[key]);
        None
    }

    /// Takes out the tables that hold one of `keys` themselves, at any depth, and gives the rest of their paths. Those called as in `known`
    /// stay.
    pub(crate) fn take_tables_with(&mut self, keys: &[&str], known: &[&str]) -> Vec<String> {
        let paths: Vec<String> = self
            .table
            .iter()
            .filter_map(|(name, value)| Some((name.name.as_ref(), value.as_table()?)))
            .filter(|(name, _)| !known.contains(name))
            .flat_map(|(name, table)| paths_with(keys, name, table))
            .collect();
        self.table.retain(|name, _| !paths.iter().any(|path| path.split('.').next() == Some(&name.name)));
        paths
    }

    /// Reads each table of an array of tables with `read`.
    pub(crate) fn tables<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(&mut Section<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (value, line) = self.take(key)?;
        let ValueInner::Array(array) = value else {
            let path = self.path_of(key);
            self.problem_at(
                line,
                key,
                format!("must be an array of tables, as in [[{path}]], not {}", article(&value)),
            );
            return None;
        };
        let count = array.len();
        let mut values = Vec::with_capacity(count);
        for mut element in array {
            let line = self.source.line(element.span);
            let ValueInner::Table(table) = element.take() else {
                self.problem_at(line, key, "must hold tables alone");
                continue;
            };
            values.extend(self.inside(key, line, table, &mut read));
        }
        (values.len() == count).then_some(values)
    }

    fn inside<T>(
        &mut self,
        key: &str,
        line: usize,
        table: Table<'a>,
        read: impl FnOnce(&mut Section<'a>) -> Option<T>,
    ) -> Option<T> {
        let mut section = Section::new(self.source, self.path_of(key), line, table);
        let value = read(&mut section);
        for (inner, texts) in std::mem::take(&mut section.resolved) {
            self.resolved.entry(format!("{key}.{inner}")).or_default().extend(texts);
        }
        self.problems.append(&mut section.finish());
        value
    }

    /// The line that the table begins on.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The keys that may be there, for the message about an unknown one.
    pub(crate) fn expect(&mut self, keys: &[&str]) {
        self.asked.extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// The keys that were not read yet, in the order of the file's names.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.table.keys().map(|key| key.name.to_string()).collect()
    }

    /// What stands in this table, for a digest that tells whether it changed: call before reading.
    pub(crate) fn written(&self) -> String {
        let mut written = String::new();
        for (key, value) in &self.table {
            write_canonical(&mut written, &key.name, value.as_ref());
        }
        written
    }

    /// What the environment and files gave while this table was read, for the same digest. Secret.
    pub(crate) fn resolved(&self) -> &BTreeMap<String, Vec<String>> {
        &self.resolved
    }

    /// Whether a key's text came from the environment or a file: it may then be a secret.
    #[must_use]
    pub fn is_referred(&self, key: &str) -> bool {
        self.resolved.contains_key(key)
    }

    /// A key's text as a problem may show it: in quotes, unless it came from the environment or a file.
    #[must_use]
    pub fn shown(&self, key: &str, text: &str) -> String {
        if self.resolved.contains_key(key) { "what it refers to".to_owned() } else { format!("{text:?}") }
    }

    /// Every problem of this section, unknown keys included.
    pub(crate) fn finish(mut self) -> Vec<ConfigProblem> {
        for key in self.keys() {
            let message = match nearest(&self.asked, &key) {
                Some(known) => format!("unknown key; did you mean {known:?}?"),
                None if self.asked.is_empty() => "unknown key; remove it".to_owned(),
                None => {
                    let known: Vec<_> = self.asked.iter().map(String::as_str).collect();
                    format!("unknown key; remove it (known here: {})", known.join(", "))
                }
            };
            self.problem(&key, message);
        }
        self.problems
    }

    /// Passes over a key.
    pub(crate) fn leave_out(&mut self, key: &str) {
        drop(self.take(key));
    }

    /// Reads the rest with another environment.
    pub(crate) fn read_with(&mut self, source: Source<'a>) {
        self.source = source;
    }

    /// Drops the unread keys that are not a known one misspelt: nobody can tell whether they are right.
    pub(crate) fn ignore_the_rest(&mut self) {
        let asked = &self.asked;
        self.table.retain(|key, _| nearest(asked, &key.name).is_some());
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn problem_at(&mut self, line: usize, key: &str, message: impl Into<String>) {
        self.problems.push(ConfigProblem { line, key: self.path_of(key), message: message.into() });
    }

    /// Takes a key out with the line it stands on, and remembers that it is a known one.
    fn take(&mut self, key: &str) -> Option<(ValueInner<'a>, usize)> {
        self.asked.insert(key.to_owned());
        let (name, mut value) = self.table.remove_entry(key)?;
        Some((value.take(), self.source.line(name.span)))
    }

    /// Takes an array out, and reads each of its elements with `read`. Every bad element is a problem.
    fn elements<T>(
        &mut self,
        key: &str,
        example: &str,
        mut read: impl FnMut(&mut Self, usize, ValueInner<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match self.take(key)? {
            (ValueInner::Array(array), _) => {
                let count = array.len();
                let mut element = |mut value: Value<'a>| {
                    let line = self.source.line(value.span);
                    read(self, line, value.take())
                };
                let values: Vec<T> = array.into_iter().filter_map(&mut element).collect();
                (values.len() == count).then_some(values)
            }
            (other, line) => {
                self.wrong_type(line, key, &format!("an array, as in {key} = {example}"), &other);
                None
            }
        }
    }

    fn wrong_type(&mut self, line: usize, key: &str, wanted: &str, found: &ValueInner<'_>) {
        self.problem_at(line, key, format!("must be {wanted}, not {}", article(found)));
    }
}

fn paths_with(keys: &[&str], path: &str, table: &Table<'_>) -> Vec<String> {
    if keys.iter().any(|key| table.contains_key(*key)) {
        return vec![path.to_owned()];
    }
    let inner = table.iter().filter_map(|(name, value)| Some((&name.name, value.as_table()?)));
    inner.flat_map(|(name, table)| paths_with(keys, &format!("{path}.{name}"), table)).collect()
}

fn article(value: &ValueInner<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The known key that was probably meant.
fn nearest<'k>(known: &'k BTreeSet<String>, key: &str) -> Option<&'k String> {
    let far = key.len() / 3;
    let near = known.iter().map(|name| (strsim::osa_distance(name, key), name)).filter(|(steps, _)| *steps <= far);
    near.min().map(|(_, name)| name)
}

fn write_canonical(out: &mut String, name: &str, value: &ValueInner<'_>) {
    let line = match value {
        ValueInner::String(text) => format!("{name:?}={text:?}\n"),
        ValueInner::Integer(number) => format!("{name:?}={number}\n"),
        ValueInner::Float(number) => format!("{name:?}={number}\n"),
        ValueInner::Boolean(flag) => format!("{name:?}={flag}\n"),
        ValueInner::Array(array) => {
            for element in array {
                write_canonical(out, name, element.as_ref());
            }
            format!("{name:?}]\n")
        }
        ValueInner::Table(table) => {
            for (key, value) in table {
                write_canonical(out, &key.name, value.as_ref());
            }
            format!("{name:?}}}\n")
        }
    };
    out.push_str(&line);
}
