//! Reading on in a program's text: spaces and comments, words and signs. Pure.

use super::super::term::{Operator, Term};
use super::Parser;

type Make = fn(Box<(Term, Term)>) -> Term;

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub(super) fn starts(&self, sign: &str) -> bool {
        self.rest().starts_with(sign)
    }

    /// Skips spaces and comments. A backslash carries a comment on to the next line.
    pub(super) fn space(&mut self) {
        loop {
            let rest = self.rest();
            let text = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.at += rest.len() - text.len();
            if !text.starts_with('#') {
                return;
            }
            let mut escaped = false;
            let ends = |c: char| {
                let end = c == '\n' && !escaped;
                // A carriage return belongs to the line's end.
                escaped = (c == '\\' && !escaped) || (c == '\r' && escaped);
                end
            };
            self.at += text.find(ends).unwrap_or(text.len());
        }
    }

    pub(super) fn at_end(&mut self) -> bool {
        self.space();
        self.rest().is_empty()
    }

    pub(super) fn takes(&mut self, sign: &str) -> bool {
        self.space();
        let found = self.starts(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    pub(super) fn takes_bar(&mut self) -> bool {
        self.space();
        !self.starts("|=") && self.takes("|")
    }

    pub(super) fn takes_either(&mut self) -> bool {
        self.space();
        !self.starts("//=") && self.takes("//")
    }

    pub(super) fn takes_calculation(&mut self, signs: &[u8]) -> Option<u8> {
        self.space();
        let sign = self.rest().bytes().next().filter(|sign| signs.contains(sign))?;
        let next = self.rest().get(1..).unwrap_or("");
        if next.starts_with('=') || (sign == b'/' && next.starts_with('/')) {
            return None;
        }
        self.at += 1;
        Some(sign)
    }

    pub(super) fn takes_comparison(&mut self) -> Option<Operator> {
        let known = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        known.into_iter().find(|(sign, _)| self.takes(sign)).map(|(_, operator)| operator)
    }

    pub(super) fn takes_assignment(&mut self) -> Option<Make> {
        let known: [(&str, Make); 8] = [
            ("|=", Term::Modify),
            ("//=", |pair| Term::Calculate(None, pair)),
            ("+=", |pair| Term::Calculate(Some(Operator::Add), pair)),
            ("-=", |pair| Term::Calculate(Some(Operator::Subtract), pair)),
            ("*=", |pair| Term::Calculate(Some(Operator::Multiply), pair)),
            ("/=", |pair| Term::Calculate(Some(Operator::Divide), pair)),
            ("%=", |pair| Term::Calculate(Some(Operator::Remainder), pair)),
            ("=", Term::Assign),
        ];
        self.space();
        let is_equality = self.starts("==");
        known.into_iter().find(|(sign, _)| !(is_equality && *sign == "=") && self.takes(sign)).map(|(_, make)| make)
    }

    /// The word that stands here, or nothing.
    pub(super) fn peek_word(&self) -> &'t str {
        let rest = self.rest();
        let mut end = 0;
        for (at, c) in rest.char_indices() {
            let fits = c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
            // `a::b`
            let part = at > 0 && rest.get(at..).is_some_and(|rest| rest.starts_with("::"))
                || rest.get(..at).is_some_and(|read| read.ends_with(':') && !read.ends_with("::"));
            if !(fits || part && c == ':') {
                break;
            }
            end = at + c.len_utf8();
        }
        rest.get(..end).unwrap_or("")
    }

    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        self.space();
        let found = self.peek_word() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn word(&mut self, what: &str) -> Result<String, String> {
        self.space();
        let word = self.peek_word();
        if word.is_empty() {
            return Err(self.expected(what));
        }
        self.at += word.len();
        Ok(word.to_owned())
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), String> {
        if self.takes_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(super) fn expected(&self, what: &str) -> String {
        let shown: String = self.rest().chars().take(20).collect();
        let shown = if shown.is_empty() { "the end".to_owned() } else { format!("{shown:?}") };
        format!("{}: expected {what}, found {shown}", self.place(self.at))
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or("").matches('\n').count() + 1
    }

    /// Line and column of a byte.
    pub(super) fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        match self.line(at) {
            1 => format!("column {column}"),
            line => format!("line {line}, column {column}"),
        }
    }
}
