//! What a value is taken apart into: `$x`, `[$a, $b]`, `{a: $x}`, and alternatives of them. Pure.

use super::super::term::{FieldPattern, Pattern, Patterns, Term};
use super::super::value::Val;
use super::Parser;
use super::scope::Name;

impl Parser<'_> {
    /// Alternatives with `?//` between them. Their variables stand in `names` from here on.
    pub(super) fn patterns(&mut self) -> Result<Patterns, String> {
        let before = self.names.len();
        let mut alternatives = vec![self.pattern(before)?];
        while self.takes("?//") {
            alternatives.push(self.pattern(before)?);
        }
        Ok(Patterns { variables: self.names.len() - before, alternatives })
    }

    fn pattern(&mut self, before: usize) -> Result<Pattern, String> {
        self.nested(|parser| {
            if parser.takes("$") {
                return Ok(Pattern::Variable(parser.bound(before)?));
            }
            if parser.takes("[") {
                let mut items = vec![parser.pattern(before)?];
                while !parser.takes("]") {
                    parser.expect(",")?;
                    items.push(parser.pattern(before)?);
                }
                return Ok(Pattern::Array(items));
            }
            if parser.takes("{") {
                let mut fields = vec![parser.field_pattern(before)?];
                while !parser.takes("}") {
                    parser.expect(",")?;
                    fields.push(parser.field_pattern(before)?);
                }
                return Ok(Pattern::Object(fields));
            }
            Err(parser.expected("a variable, [ or {"))
        })
    }

    fn field_pattern(&mut self, before: usize) -> Result<FieldPattern, String> {
        let seen = self.names.len() - before;
        if self.takes("$") {
            let start = self.at;
            let variable = self.bound(before)?;
            let key = self.text.get(start..self.at).unwrap_or("").trim();
            let key = Term::Literal(Val::text(key));
            let parts = if self.takes(":") { Some(self.pattern(before)?) } else { None };
            return Ok(FieldPattern { variable: Some(variable), key, seen, parts });
        }
        let key = self.key()?.0;
        self.expect(":")?;
        Ok(FieldPattern { variable: None, key, seen, parts: Some(self.pattern(before)?) })
    }

    /// The variable that is set by this name, new or one of an earlier alternative.
    fn bound(&mut self, before: usize) -> Result<usize, String> {
        let wanted = self.word("a variable's name")?;
        let same = |known: &Name| matches!(known, Name::Variable(name) if *name == wanted);
        let new = self.names.get(before..).unwrap_or(&[]);
        if let Some(at) = new.iter().position(same) {
            return Ok(at);
        }
        let at = new.len();
        self.names.push(Name::Variable(wanted));
        Ok(at)
    }
}
