//! Getters for what may be made of each event: texts and fields with `{ jq = "…" }`, compiled here.

use secrecy::SecretString;
use toml_span::value::{Table, ValueInner};

use super::{Section, article};
use crate::mapping::{Expression, Field, Template};

impl<'a> Section<'a> {
    /// A string, or `{ jq = "…" }`.
    pub fn template(&mut self, key: &str) -> Option<Template> {
        let (value, line) = self.take(key)?;
        match self.jq(line, key, &value)? {
            Some(expression) => Some(Template::Jq(expression)),
            None => self.resolve(line, key, value).map(Template::Text),
        }
    }

    /// An expression in `{ jq = "…" }`.
    pub fn expression(&mut self, key: &str) -> Option<Expression> {
        let (value, line) = self.take(key)?;
        let expression = self.jq(line, key, &value)?;
        if expression.is_none() {
            self.wrong_type(line, key, "{ jq = \"…\" }", &value);
        }
        expression
    }

    /// A table of strings that are never shown and of `{ jq = "…" }`, in the order of their names. `mend` says what is wrong
    /// with a name.
    pub fn table_of_templates(
        &mut self,
        key: &str,
        mut mend: impl FnMut(&str) -> Option<String>,
    ) -> Option<Vec<(String, SecretTemplate)>> {
        if !self.has(key) {
            self.asked.insert(key.to_owned());
            return None;
        }
        self.within(key, |table| {
            let keys = table.keys();
            let read = keys.into_iter().filter_map(|key| {
                if let Some(mend) = mend(&key) {
                    table.problem(&key, mend);
                }
                let template = match table.template(&key)? {
                    Template::Text(text) if text.is_empty() => {
                        table.problem(&key, "is empty");
                        return None;
                    }
                    Template::Text(text) => SecretTemplate::Text(text.into()),
                    Template::Jq(expression) => SecretTemplate::Jq(expression),
                };
                Some((key, template))
            });
            let templates: Vec<_> = read.collect();
            (!table.failed()).then_some(templates)
        })
    }

    /// Any value, in which each table may be `{ jq = "…" }` or what every string may be.
    pub(crate) fn field(&mut self, key: &str) -> Option<Field> {
        let (value, line) = self.take(key)?;
        self.field_of(line, key, value)
    }

    fn field_of(&mut self, line: usize, key: &str, value: ValueInner<'a>) -> Option<Field> {
        if let Some(expression) = self.jq(line, key, &value)? {
            return Some(Field::Jq(expression));
        }
        Some(match value {
            ValueInner::String(text) => Field::Literal(text.into_owned().into()),
            ValueInner::Integer(number) => Field::Literal(number.into()),
            ValueInner::Float(number) => Field::Literal(number.into()),
            ValueInner::Boolean(flag) => Field::Literal(flag.into()),
            ValueInner::Array(items) => {
                let fields: Vec<_> = items.into_iter().map(|mut item| self.field_of(line, key, item.take())).collect();
                Field::Array(fields.into_iter().collect::<Option<_>>()?)
            }
            ValueInner::Table(table) if is_reference(&table) => {
                let text = self.resolve(line, key, ValueInner::Table(table))?;
                Field::Referred(SecretString::from(text))
            }
            ValueInner::Table(table) => {
                let read = table.into_iter().map(|(name, mut value)| {
                    Some((name.name.to_string(), self.field_of(line, &format!("{key}.{}", name.name), value.take())?))
                });
                let fields: Vec<_> = read.collect();
                Field::Table(fields.into_iter().collect::<Option<_>>()?)
            }
        })
    }

    /// The expression in `{ jq = "…" }`; `Some(None)` where it is something else, `None` where it is wrong.
    fn jq(&mut self, line: usize, key: &str, value: &ValueInner<'a>) -> Option<Option<Expression>> {
        let Some(text) = value.as_table().filter(|table| table.len() == 1).and_then(|table| table.get("jq")) else {
            return Some(None);
        };
        let Some(text) = text.as_str() else {
            self.problem_at(line, key, format!("jq must be a string, not {}", article(text.as_ref())));
            return None;
        };
        match Expression::compile(text) {
            Ok(expression) => Some(Some(expression)),
            Err(said) => {
                self.problem_at(line, key, format!("the jq expression is wrong: {said}"));
                None
            }
        }
    }
}

/// A text that is never shown, or an expression.
#[derive(Debug)]
pub enum SecretTemplate {
    /// Always the same.
    Text(SecretString),
    /// What an expression gives.
    Jq(Expression),
}

fn is_reference(table: &Table<'_>) -> bool {
    table.len() == 1 && table.keys().all(|key| matches!(key.name.as_ref(), "env" | "file"))
}
