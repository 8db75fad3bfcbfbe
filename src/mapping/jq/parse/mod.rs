//! Text of a program to its terms, with every name resolved. Pure.

mod cursor;
mod pattern;
mod scope;
mod simple;
mod text;

use super::prelude;
use super::term::{Fold, Function, Operator, Program, Term};
use crate::mapping::fuel;
use scope::Name;

/// Terms inside one another: they are read, run and freed recursively.
const DEEPEST: usize = 1000;
/// Operators of one sort in a row, for the same reason.
const LONGEST_ROW: usize = 1000;

pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    names: Vec<Name>,
    functions: Vec<Function>,
    /// Whether it reads jq's own definitions.
    is_prelude: bool,
}

/// A whole program, where these variables are set from outside.
pub(in crate::mapping) fn program(text: &str, variables: &[&str]) -> Result<Program, String> {
    // Made before anything is read, where there is stack for it: it must not be left half way.
    let _made = prelude::functions();
    let variable = |name: &&str| Name::Variable((*name).to_owned());
    let names = variables.iter().map(variable).collect();
    let mut parser = Parser { text, at: 0, depth: 0, names, functions: Vec::new(), is_prelude: false };
    parser.no_modules()?;
    let main = if parser.at_end() && !parser.functions.is_empty() { Term::Identity } else { parser.pipe()? };
    if !parser.at_end() {
        return Err(parser.expected("an operator or the end"));
    }
    Ok(Program { main, functions: parser.functions })
}

/// A name, its number of parameters, and the place of its function.
pub(super) type Defined = (String, usize, usize);

/// jq's own definitions.
pub(super) fn definitions(text: &str) -> Result<(Vec<Defined>, Vec<Function>), String> {
    let mut parser = Parser { text, at: 0, depth: 0, names: Vec::new(), functions: Vec::new(), is_prelude: true };
    while parser.takes_word("def") {
        parser.definition()?;
    }
    if !parser.at_end() {
        return Err(parser.expected("def"));
    }
    let known = parser.names.into_iter().filter_map(|name| match name {
        Name::Function { name, parameters, function } => Some((name, parameters, function)),
        Name::Variable(_) | Name::Filter(_) | Name::Label(_) => None,
    });
    Ok((known.collect(), parser.functions))
}

impl Parser<'_> {
    fn no_modules(&self) -> Result<(), String> {
        let word = self.peek_word();
        if matches!(word, "import" | "include" | "module") {
            Err("modules cannot be loaded here".to_owned())
        } else {
            Ok(())
        }
    }

    /// Reads something that may hold as much again.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        if self.depth >= DEEPEST {
            return Err(format!("{}: it is nested too deeply", self.place(self.at)));
        }
        fuel::step();
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// The loosest: definitions, and terms joined by `|`.
    fn pipe(&mut self) -> Result<Term, String> {
        self.nested(|parser| {
            if parser.takes_word("def") {
                let before = parser.names.len();
                parser.definition()?;
                let body = parser.pipe()?;
                parser.names.truncate(before);
                return Ok(body);
            }
            let left = parser.comma()?;
            if !parser.takes_bar() {
                return Ok(left);
            }
            let right = parser.pipe()?;
            Ok(Term::Pipe(Box::new((left, right))))
        })
    }

    /// `def name(parameters): body;`, behind its `def`.
    fn definition(&mut self) -> Result<(), String> {
        let name = self.word("a name")?;
        let mut parameters = Vec::new();
        if self.takes("(") {
            loop {
                let is_value = self.takes("$");
                parameters.push((is_value, self.word("a parameter")?));
                if self.takes(")") {
                    break;
                }
                self.expect(";")?;
            }
        }
        self.expect(":")?;
        let function = self.functions.len();
        let values = parameters.iter().map(|(is_value, _)| *is_value).collect();
        self.functions.push(Function { values, body: Term::Identity });
        self.names.push(Name::Function { name, parameters: parameters.len(), function });
        let before = self.names.len();
        for (is_value, name) in parameters {
            self.names.push(Name::Filter(name.clone()));
            self.names.extend(is_value.then_some(Name::Variable(name)));
        }
        let body = self.pipe()?;
        self.expect(";")?;
        self.names.truncate(before);
        if let Some(known) = self.functions.get_mut(function) {
            known.body = body;
        }
        Ok(())
    }

    fn row(
        &mut self,
        part: fn(&mut Self) -> Result<Term, String>,
        mut next: impl FnMut(&mut Self) -> Option<fn(Box<(Term, Term)>) -> Term>,
    ) -> Result<Term, String> {
        let mut left = part(self)?;
        for _ in 0..LONGEST_ROW {
            let Some(joined) = next(self) else { return Ok(left) };
            let right = part(self)?;
            left = joined(Box::new((left, right)));
        }
        Err(format!("{}: too many operators in a row", self.place(self.at)))
    }

    fn comma(&mut self) -> Result<Term, String> {
        self.row(Self::either, |parser| parser.takes(",").then_some(Term::Comma))
    }

    /// `//`, which binds to the right.
    fn either(&mut self) -> Result<Term, String> {
        self.nested(|parser| {
            let left = parser.assignment()?;
            if !parser.takes_either() {
                return Ok(left);
            }
            let right = parser.either()?;
            Ok(Term::Either(Box::new((left, right))))
        })
    }

    fn assignment(&mut self) -> Result<Term, String> {
        let left = self.or()?;
        let Some(make) = self.takes_assignment() else { return Ok(left) };
        let right = self.either()?;
        Ok(make(Box::new((left, right))))
    }

    fn or(&mut self) -> Result<Term, String> {
        self.row(Self::and, |parser| parser.takes_word("or").then_some(Term::Or))
    }

    fn and(&mut self) -> Result<Term, String> {
        self.row(Self::comparison, |parser| parser.takes_word("and").then_some(Term::And))
    }

    fn comparison(&mut self) -> Result<Term, String> {
        let left = self.sum()?;
        let Some(operator) = self.takes_comparison() else { return Ok(left) };
        let right = self.sum()?;
        Ok(Term::Operation(operator, Box::new((left, right))))
    }

    fn sum(&mut self) -> Result<Term, String> {
        self.row(Self::product, |parser| match parser.takes_calculation(b"+-")? {
            b'+' => Some(|pair| Term::Operation(Operator::Add, pair)),
            _ => Some(|pair| Term::Operation(Operator::Subtract, pair)),
        })
    }

    fn product(&mut self) -> Result<Term, String> {
        self.row(Self::signed, |parser| match parser.takes_calculation(b"*/%")? {
            b'*' => Some(|pair| Term::Operation(Operator::Multiply, pair)),
            b'/' => Some(|pair| Term::Operation(Operator::Divide, pair)),
            _ => Some(|pair| Term::Operation(Operator::Remainder, pair)),
        })
    }

    fn signed(&mut self) -> Result<Term, String> {
        if self.takes("-") {
            return self.nested(|parser| Ok(Term::Negate(Box::new(parser.signed()?))));
        }
        self.postfix()
    }

    /// `reduce` and `foreach`, behind the word.
    fn fold(&mut self, is_reduce: bool) -> Result<Term, String> {
        let source = self.suffixed()?;
        self.expect_word("as")?;
        let before = self.names.len();
        let patterns = self.patterns()?;
        let bound: Vec<Name> = self.names.drain(before..).collect();
        self.expect("(")?;
        let start = self.pipe()?;
        self.expect(";")?;
        self.names.extend(bound);
        let update = self.pipe()?;
        let extract = if !is_reduce && self.takes(";") { Some(self.pipe()?) } else { None };
        self.names.truncate(before);
        self.expect(")")?;
        let fold = Box::new(Fold { source, patterns, start, update, extract });
        Ok(if is_reduce { Term::Reduce(fold) } else { Term::Foreach(fold) })
    }
}
