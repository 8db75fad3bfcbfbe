//! Strings with escapes and expressions in them, and numbers. Pure.

use super::super::number::Number;
use super::super::term::{Format, Piece, Term};
use super::super::value::Val;
use super::Parser;
use crate::mapping::jq::read;

impl Parser<'_> {
    pub(super) fn number(&mut self) -> Result<Term, String> {
        let bytes = self.text.as_bytes();
        let digits = |from: usize| from + bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let start = self.at;
        let mut end = digits(start);
        if bytes.get(end) == Some(&b'.') {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if digits(signed) > signed {
                end = digits(signed);
            }
        }
        let number = self.text.get(start..end).and_then(Number::parse).ok_or_else(|| self.expected("a number"))?;
        self.at = end;
        Ok(Term::Literal(Val::Number(number)))
    }

    /// From the first quote on.
    pub(super) fn string(&mut self, format: Format) -> Result<Term, String> {
        self.expect("\"")?;
        let (mut pieces, mut text) = (Vec::new(), String::new());
        loop {
            let rest = self.text.get(self.at..).unwrap_or("");
            let plain = rest.find(['"', '\\']).ok_or_else(|| self.expected("the end of a string"))?;
            text.push_str(rest.get(..plain).unwrap_or(""));
            self.at += plain;
            if self.starts("\"") {
                self.at += 1;
                break;
            }
            if self.starts("\\(") {
                self.at += 2;
                let term = self.pipe()?;
                self.expect(")")?;
                pieces.extend((!text.is_empty()).then(|| Piece::Text(std::mem::take(&mut text))));
                pieces.push(Piece::Term(term));
            } else {
                self.escape(&mut text)?;
            }
        }
        if pieces.is_empty() {
            return Ok(Term::Literal(Val::text(text)));
        }
        pieces.extend((!text.is_empty()).then(|| Piece::Text(text)));
        Ok(Term::Text(format, pieces))
    }

    /// One escape, or two that are a pair: as in JSON.
    fn escape(&mut self, text: &mut String) -> Result<(), String> {
        let rest = self.text.get(self.at..).unwrap_or("");
        let unicode = |from: usize| rest.get(from..from + 2) == Some("\\u") && rest.get(from..from + 6).is_some();
        let length = match (unicode(0), unicode(6)) {
            (true, true) => 12,
            (true, false) => 6,
            (false, _) => 2,
        };
        let written = rest.get(..length).unwrap_or(rest);
        let Ok(Val::Text(read)) = read::read(&format!("\"{written}\"")) else { return Err(self.expected("an escape")) };
        text.push_str(&read);
        self.at += written.len();
        Ok(())
    }
}
