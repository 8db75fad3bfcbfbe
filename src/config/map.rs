//! `[[destinations.<name>.map]]`: which of the vendor's fields are made of what, for which types of events.

use super::topic;
use crate::mapping::{Mapping, Rule};
use crate::section::Section;
use crate::vendors::Kind;

/// The rules, with each field one of the vendor's.
pub(super) fn read(section: &mut Section<'_>, kind: &Kind) -> Mapping {
    Mapping::new(section.tables("map", |rule| self::rule(rule, kind)).unwrap_or_default())
}

fn rule(section: &mut Section<'_>, kind: &Kind) -> Option<Rule> {
    let pattern = topic::pattern(section, "type");
    let line = section.line();
    section.expect(kind.fields);
    let names = section.keys().into_iter().filter(|name| kind.fields.contains(&name.as_str()));
    let fields: Vec<_> = names.filter_map(|name| Some((name.clone(), section.field(&name)?))).collect();
    for (name, field) in &fields {
        // A null is left out.
        if let Some(value) = field.literal().filter(|value| !value.is_null())
            && let Err(wrong) = (kind.check)(name, &value)
        {
            section.problem(name, format!("is the same for every event, and no event could be sent: {wrong}"));
        }
    }
    (!section.failed()).then(|| Rule { pattern, line, fields })
}
