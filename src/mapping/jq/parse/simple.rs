//! Terms that stand for themselves, and what may follow them: `.a`, `[0]`, `?`, `as $x | …`. Pure.

use super::super::natives::pattern;
use super::super::term::{Bind, Format, Term};
use super::super::value::Val;
use super::scope::Name;
use super::{LONGEST_ROW, Parser};

/// Words that are no filters.
const KEYWORDS: [&str; 20] = [
    "def", "if", "then", "elif", "else", "end", "as", "reduce", "foreach", "try", "catch", "label", "import",
    "include", "and", "or", "__loc__", "module", "break", "",
];

impl Parser<'_> {
    /// A term with all that follows it, `as` included.
    pub(super) fn postfix(&mut self) -> Result<Term, String> {
        self.nested(|parser| {
            let term = parser.suffixed()?;
            if !parser.takes_word("as") {
                return Ok(term);
            }
            let before = parser.names.len();
            let patterns = parser.patterns()?;
            if !parser.takes_bar() {
                return Err(parser.expected("|"));
            }
            let body = parser.pipe()?;
            parser.names.truncate(before);
            Ok(Term::Bind(Box::new(Bind { source: term, patterns, body })))
        })
    }

    pub(super) fn suffixed(&mut self) -> Result<Term, String> {
        let mut term = self.simple()?;
        for _ in 0..LONGEST_ROW {
            self.space();
            term = if self.starts("?//") {
                return Ok(term);
            } else if self.takes("?") {
                match term {
                    Term::Index(_) | Term::Slice(_) | Term::Iterate(_) => Term::Optional(Box::new(term)),
                    other => Term::Try(Box::new((other, None))),
                }
            } else if self.starts("[") {
                self.brackets(term)?
            } else if self.starts(".[") {
                self.at += 1;
                self.brackets(term)?
            } else if self.starts(".") && !self.starts("..") {
                self.at += 1;
                self.field(term)?
            } else {
                return Ok(term);
            };
        }
        Err(format!("{}: too much in a row", self.place(self.at)))
    }

    /// A field's name or string, behind the point.
    fn field(&mut self, term: Term) -> Result<Term, String> {
        self.space();
        let key = if self.starts("\"") {
            self.string(Format::Text)?
        } else {
            Term::Literal(Val::text(self.word("a field's name")?))
        };
        Ok(Term::Index(Box::new((term, key))))
    }

    fn brackets(&mut self, term: Term) -> Result<Term, String> {
        self.expect("[")?;
        if self.takes("]") {
            return Ok(Term::Iterate(Box::new(term)));
        }
        if self.takes(":") {
            let end = self.pipe()?;
            self.expect("]")?;
            return Ok(Term::Slice(Box::new((term, None, Some(end)))));
        }
        let first = self.pipe()?;
        if !self.takes(":") {
            self.expect("]")?;
            return Ok(Term::Index(Box::new((term, first))));
        }
        let end = if self.takes("]") { None } else { Some(self.pipe()?) };
        if end.is_some() {
            self.expect("]")?;
        }
        Ok(Term::Slice(Box::new((term, Some(first), end))))
    }

    fn simple(&mut self) -> Result<Term, String> {
        self.space();
        let start = self.at;
        match self.text.as_bytes().get(start) {
            Some(b'0'..=b'9') => self.number(),
            Some(b'"') => self.string(Format::Text),
            Some(b'@') => {
                let format = self.format()?;
                self.space();
                if self.starts("\"") { self.string(format) } else { Ok(Term::Format(format)) }
            }
            Some(b'.') => self.dot(),
            Some(b'$') => {
                self.at += 1;
                if self.takes_word("__loc__") {
                    Ok(self.location(start))
                } else {
                    self.word("a variable's name").and_then(|name| self.variable(&name, start))
                }
            }
            Some(b'(') => {
                self.at += 1;
                let term = self.pipe()?;
                self.expect(")")?;
                Ok(term)
            }
            Some(b'[') => {
                self.at += 1;
                if self.takes("]") {
                    return Ok(Term::Array(None));
                }
                let items = self.pipe()?;
                self.expect("]")?;
                Ok(Term::Array(Some(Box::new(items))))
            }
            Some(b'{') => self.object(),
            Some(_) | None => self.named(),
        }
    }

    fn dot(&mut self) -> Result<Term, String> {
        if self.takes("..") {
            return Ok(Term::Control(super::super::term::Control::Recurse, Vec::new()));
        }
        let digits = self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit);
        if digits {
            return self.number();
        }
        self.at += 1;
        let is_field = self.starts("\"") || !self.peek_word().is_empty();
        if is_field { self.field(Term::Identity) } else { Ok(Term::Identity) }
    }

    fn location(&self, at: usize) -> Term {
        let line = Val::count(self.line(at));
        Term::Literal(Val::of([("file", Val::text("<top-level>")), ("line", line)]))
    }

    fn format(&mut self) -> Result<Format, String> {
        let start = self.at;
        self.at += 1;
        let name = self.word("a format's name")?;
        Format::named(&name).ok_or_else(|| format!("{}: the filter @{name} is not known", self.place(start)))
    }

    /// What begins with a word.
    fn named(&mut self) -> Result<Term, String> {
        let start = self.at;
        let word = self.peek_word();
        self.at += word.len();
        match word {
            "if" => self.branches(),
            "try" => self.attempt(),
            "reduce" => self.fold(true),
            "foreach" => self.fold(false),
            "label" => {
                self.expect("$")?;
                let name = self.word("a label's name")?;
                if !self.takes_bar() {
                    return Err(self.expected("|"));
                }
                self.names.push(Name::Label(name));
                let body = self.pipe()?;
                self.names.pop();
                Ok(Term::Label(Box::new(body)))
            }
            "break" => {
                self.expect("$")?;
                self.word("a label's name").and_then(|name| self.label(&name, start))
            }
            "def" => {
                let before = self.names.len();
                self.definition()?;
                let body = self.pipe()?;
                self.names.truncate(before);
                Ok(body)
            }
            word if KEYWORDS.contains(&word) => {
                self.at = start;
                Err(self.expected("a term"))
            }
            word => self.call(word.to_owned(), start),
        }
    }

    fn branches(&mut self) -> Result<Term, String> {
        self.nested(|parser| {
            let condition = parser.pipe()?;
            parser.expect_word("then")?;
            let then = parser.pipe()?;
            let other = if parser.takes_word("elif") {
                parser.branches()?
            } else if parser.takes_word("else") {
                let other = parser.pipe()?;
                parser.expect_word("end")?;
                other
            } else {
                parser.expect_word("end")?;
                Term::Identity
            };
            Ok(Term::If(Box::new((condition, then, other))))
        })
    }

    fn attempt(&mut self) -> Result<Term, String> {
        self.nested(|parser| {
            let part = |parser: &mut Self| {
                if parser.takes("-") {
                    parser.signed().map(|term| Term::Negate(Box::new(term)))
                } else {
                    parser.suffixed()
                }
            };
            let body = part(parser)?;
            let handler = if parser.takes_word("catch") { Some(part(parser)?) } else { None };
            Ok(Term::Try(Box::new((body, handler))))
        })
    }

    fn call(&mut self, name: String, start: usize) -> Result<Term, String> {
        let mut arguments = Vec::new();
        if self.takes("(") {
            loop {
                arguments.push(self.pipe()?);
                if self.takes(")") {
                    break;
                }
                self.expect(";")?;
            }
        }
        if !self.is_prelude {
            pattern::check_literal(&name, &arguments).map_err(|said| format!("{}: {said}", self.place(start)))?;
        }
        match (name.as_str(), arguments.len()) {
            ("true", 0) => Ok(Term::Literal(Val::Bool(true))),
            ("false", 0) => Ok(Term::Literal(Val::Bool(false))),
            ("null", 0) => Ok(Term::Literal(Val::Null)),
            _ => self.filter(&name, arguments, start),
        }
    }

    fn object(&mut self) -> Result<Term, String> {
        self.expect("{")?;
        let mut fields = Vec::new();
        if self.takes("}") {
            return Ok(Term::Object(fields));
        }
        loop {
            fields.push(self.entry()?);
            if self.takes("}") {
                return Ok(Term::Object(fields));
            }
            self.expect(",")?;
        }
    }

    fn entry(&mut self) -> Result<(Term, Term), String> {
        self.space();
        let start = self.at;
        let (key, value) = if self.takes("$") {
            let name = self.word("a variable's name")?;
            let value = if name == "__loc__" { self.location(start) } else { self.variable(&name, start)? };
            self.space();
            // `{$x: 1}` takes its key from the variable.
            let key = if self.starts(":") { self.variable(&name, start)? } else { Term::Literal(Val::text(name)) };
            (key, Some(value))
        } else {
            self.key()?
        };
        if self.takes(":") {
            return Ok((key, self.entry_value()?));
        }
        match value {
            Some(value) => Ok((key, value)),
            None => Err(self.expected(":")),
        }
    }

    /// A key, and the value that it means by itself.
    pub(super) fn key(&mut self) -> Result<(Term, Option<Term>), String> {
        self.space();
        let start = self.at;
        let own = |key: Term| Some(Term::Index(Box::new((Term::Identity, key))));
        match self.text.as_bytes().get(start) {
            Some(b'(') => {
                self.at += 1;
                let key = self.pipe()?;
                self.expect(")")?;
                if let Term::Literal(literal) = &key
                    && literal.as_text().is_none()
                {
                    return Err(format!("{}: an object's key must be a string", self.place(start)));
                }
                Ok((key, None))
            }
            Some(b'"' | b'@') => {
                let read = |parser: &mut Self| {
                    let format = if parser.starts("@") { parser.format()? } else { Format::Text };
                    parser.string(format)
                };
                let key = read(self)?;
                let end = self.at;
                self.at = start;
                let again = read(self)?;
                self.at = end;
                Ok((key, own(again)))
            }
            Some(b'0'..=b'9') => {
                self.number()?;
                Err(format!("{}: an object's key must be a string", self.place(start)))
            }
            Some(_) | None => {
                let name = self.word("a key")?;
                Ok((Term::Literal(Val::text(name.as_str())), own(Term::Literal(Val::text(name)))))
            }
        }
    }

    /// What may stand as a field's value: terms joined by `|`, each with an optional sign.
    fn entry_value(&mut self) -> Result<Term, String> {
        self.nested(|parser| {
            let left = parser.either()?;
            if !parser.takes_bar() {
                return Ok(left);
            }
            let right = parser.entry_value()?;
            Ok(Term::Pipe(Box::new((left, right))))
        })
    }
}
