//! Regular expressions (`test`, `match`, `sub`, …), by an engine that backtracks only for what needs it (look-around,
//! back-references), and then within a bound. Pure: the last few patterns are kept compiled.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use fancy_regex::{Captures, Regex, RegexBuilder};
use lru::LruCache;

use super::super::run::{Stop, error};
use super::super::term::Term;
use super::super::value::{Fields, Val};
use super::{Native, argument, fail, native};
use crate::mapping::fuel;

/// Most bytes of a pattern.
const LONGEST: usize = 4096;
/// Most bytes of a compiled pattern: a search takes time in proportion to it.
const COMPILED: usize = 256 * 1024;
/// How often one search may go back.
const BACKTRACKS: usize = 20_000;
/// How many compiled patterns each thread keeps.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Bytes of text searched for one unit of work.
const SEARCHED: usize = 64;

pub(super) const NATIVES: &[Native] = &[
    native("_match", 3, |value, arguments| {
        let search = Search::of(value, argument(arguments, 0), argument(arguments, 1))?;
        if argument(arguments, 2).is_true() {
            return search.first().map(|found| Val::Bool(found.is_some()));
        }
        let mut all = Vec::new();
        let mut counted = (0, 0);
        search.each(&mut |found| all.push(match_object(search.text, &search.regex, found, &mut counted)))?;
        Ok(Val::array(all))
    }),
    native("_pieces", 2, |value, arguments| {
        let search = Search::of(value, argument(arguments, 0), argument(arguments, 1))?;
        let (mut pieces, mut from) = (Vec::new(), 0);
        search.each(&mut |found| {
            let (start, end) = span(found);
            pieces.push(Val::text(search.text.get(from..start).unwrap_or("")));
            from = end;
        })?;
        pieces.push(Val::text(search.text.get(from..).unwrap_or("")));
        Ok(Val::array(pieces))
    }),
    // What stands before each match with its named groups, and what stands behind the last.
    native("_edits", 2, |value, arguments| {
        let search = Search::of(value, argument(arguments, 0), argument(arguments, 1))?;
        let (mut edits, mut from) = (Vec::new(), 0);
        search.each(&mut |found| {
            let (start, end) = span(found);
            let gap = Val::text(search.text.get(from..start).unwrap_or(""));
            edits.push(Val::array(vec![gap, named(&search.regex, found)]));
            from = end;
        })?;
        let rest = Val::text(search.text.get(from..).unwrap_or(""));
        Ok(Val::array(vec![Val::array(edits), rest]))
    }),
];

/// A text and what is looked for in it.
struct Search<'a> {
    text: &'a str,
    regex: Regex,
    global: bool,
    /// What one byte of text costs, in [`SEARCHED`]th.
    cost: usize,
}

impl<'a> Search<'a> {
    fn of(value: &'a Val, pattern: &Val, flags: &Val) -> Result<Self, Stop> {
        let Val::Text(text) = value else {
            return fail(format!("{} cannot be matched, as it is not a string", value.shown()));
        };
        let Val::Text(pattern) = pattern else {
            return fail(format!("{} cannot be matched, as it is not a string", pattern.shown()));
        };
        let flags = match flags {
            Val::Null => "",
            Val::Text(flags) => flags,
            other => return fail(format!("{} is not a string", other.shown())),
        };
        let before_newline = text.ends_with('\n') && pattern.contains('$');
        let regex = compiled(pattern, flags, before_newline).map_err(error)?;
        Ok(Self { text, regex, global: flags.contains('g'), cost: 1 + pattern.len() / SEARCHED })
    }

    fn from(&self, at: usize) -> Result<Option<Captures<'a, str>>, Stop> {
        fuel::charge(1 + self.text.len().saturating_sub(at) / SEARCHED * self.cost);
        self.regex.captures_from_pos(self.text, at).map_err(|said| {
            fuel::charge(BACKTRACKS);
            error(format!("the regular expression goes back too often on this text: {said}"))
        })
    }

    fn first(&self) -> Result<Option<Captures<'a, str>>, Stop> {
        self.from(0)
    }

    /// Each match; one only, unless all are wanted.
    fn each(&self, with: &mut dyn FnMut(&Captures<'a, str>)) -> Result<(), Stop> {
        let mut at = 0;
        while at <= self.text.len()
            && let Some(found) = self.from(at)?
        {
            with(&found);
            let (start, end) = span(&found);
            let next = self.text.get(end..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
            at = if end == start { end + next } else { end };
            if !self.global {
                break;
            }
        }
        Ok(())
    }
}

fn span(found: &Captures<'_, str>) -> (usize, usize) {
    found.get(0).map_or((0, 0), |whole| (whole.start(), whole.end()))
}

fn named(regex: &Regex, found: &Captures<'_, str>) -> Val {
    let groups = regex.capture_names().enumerate().filter_map(|(at, name)| Some((at, name?)));
    let fields = groups.map(|(at, name)| {
        let (start, end) = span(found);
        let value = match found.get(at) {
            Some(group) => Val::text(group.as_str()),
            None if start == end => Val::text(""),
            None => Val::Null,
        };
        (name.into(), value)
    });
    Val::object(fields.collect::<Fields>())
}

/// A match as jq tells it. Characters are counted once, going forward with the matches.
fn match_object(text: &str, regex: &Regex, found: &Captures<'_, str>, counted: &mut (usize, usize)) -> Val {
    let (start, end) = span(found);
    counted.1 += text.get(counted.0..start).unwrap_or("").chars().count();
    counted.0 = start;
    let offset = counted.1;
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("");
    let groups = regex.capture_names().enumerate().skip(1).map(|(at, name)| {
        let name = name.map_or(Val::Null, Val::text);
        let (place, length, string) = match found.get(at) {
            // In an empty match jq 1.7 takes every group for an empty one.
            _ if start == end => (Val::count(offset), 0, Val::text("")),
            // In jq's order of keys.
            None => {
                let place = ("offset", Val::number(-1.0));
                return Val::of([place, ("string", Val::Null), ("length", Val::count(0)), ("name", name)]);
            }
            Some(group) => {
                let before = if group.start() >= start {
                    offset + part(start, group.start()).chars().count()
                } else {
                    part(0, group.start()).chars().count()
                };
                (Val::count(before), group.as_str().chars().count(), Val::text(group.as_str()))
            }
        };
        Val::of([("offset", place), ("length", Val::count(length)), ("string", string), ("name", name)])
    });
    let groups = Val::array(groups.collect());
    let (length, string) = (Val::count(part(start, end).chars().count()), Val::text(part(start, end)));
    Val::of([("offset", Val::count(offset)), ("length", length), ("string", string), ("captures", groups)])
}

thread_local! {
    static PATTERNS: RefCell<LruCache<(String, String, bool), Regex>> = RefCell::new(LruCache::new(KEPT));
}

fn compiled(pattern: &str, flags: &str, before_newline: bool) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("a regular expression has over {LONGEST} bytes"));
    }
    let key = (pattern.to_owned(), flags.to_owned(), before_newline);
    PATTERNS.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(&key) {
            return Ok(regex.clone());
        }
        fuel::charge(1000 + pattern.len() * 10);
        let regex = compile(pattern, flags, before_newline)?;
        kept.put(key, regex.clone());
        Ok(regex)
    })
}

fn compile(pattern: &str, flags: &str, before_newline: bool) -> Result<Regex, String> {
    let pattern = if before_newline { with_line_end(pattern) } else { pattern.to_owned() };
    let pattern = if pattern.contains("[:") { with_all_letters(&pattern) } else { pattern };
    let mut builder = RegexBuilder::new(&pattern);
    builder.oniguruma_mode(true).ignore_numbered_groups_when_named_groups_exist(false);
    builder.delegate_size_limit(COMPILED).max_prog_size(LONGEST).backtrack_limit(BACKTRACKS);
    for flag in flags.chars() {
        match flag {
            // `^` and `$` mean the whole text with and without `s`.
            'g' | 's' => {}
            'n' => drop(builder.find_not_empty(true)),
            'i' => drop(builder.case_insensitive(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            'p' => drop(builder.dot_matches_new_line(true)),
            'l' => drop(builder.leftmost_longest(true)),
            _ => return Err(format!("{flags} is not a valid modifier string")),
        }
    }
    builder.build().map_err(|said| format!("not a regular expression: {}", why(&said)))
}

/// What is wrong with a pattern, on one line: the innermost cause says most.
fn why(error: &fancy_regex::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `$` stands before a newline at the very end, too. Looking ahead for it costs more, so it is done only where there is one.
fn with_line_end(pattern: &str) -> String {
    let (mut out, mut escaped, mut class) = (String::new(), false, 0_u32);
    for c in pattern.chars() {
        match c {
            '$' if !escaped && class == 0 => {
                out.push_str("(?=\\n?\\z)");
                continue;
            }
            '[' if !escaped => class += 1,
            ']' if !escaped => class = class.saturating_sub(1),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// `[:alpha:]` and the like mean all letters of Unicode, as Oniguruma takes them.
const CLASSES: [(&str, &str); 9] = [
    ("alpha", "\\p{Alphabetic}"),
    ("alnum", "\\p{Alphabetic}\\p{M}\\p{Nd}"),
    ("digit", "\\p{Nd}"),
    ("upper", "\\p{Uppercase}"),
    ("lower", "\\p{Lowercase}"),
    ("space", "\\s"),
    ("punct", "\\p{P}$+<=>^`|~"),
    ("word", "\\w"),
    ("blank", "\\p{Zs}\\t"),
];

fn with_all_letters(pattern: &str) -> String {
    CLASSES.iter().fold(pattern.to_owned(), |pattern, (name, members)| {
        let pattern = pattern.replace(&format!("[:{name}:]"), &format!("[{members}]"));
        pattern.replace(&format!("[:^{name}:]"), &format!("[^{members}]"))
    })
}

/// The filters whose first argument is a regular expression, and the argument with its flags.
const SEARCHING: [(&str, usize, Option<usize>); 14] = [
    ("test", 1, None),
    ("test", 2, Some(1)),
    ("match", 1, None),
    ("match", 2, Some(1)),
    ("capture", 1, None),
    ("capture", 2, Some(1)),
    ("scan", 1, None),
    ("scan", 2, Some(1)),
    ("split", 2, Some(1)),
    ("splits", 1, None),
    ("sub", 2, None),
    ("sub", 3, Some(2)),
    ("gsub", 2, None),
    ("gsub", 3, Some(2)),
];

/// Whether a regular expression that is written out can be compiled.
pub(in crate::mapping::jq) fn check_literal(name: &str, arguments: &[Term]) -> Result<(), String> {
    let searches = SEARCHING.iter().find(|known| known.0 == name && known.1 == arguments.len());
    let (Some((_, _, flags)), Some(pattern)) = (searches, arguments.first()) else { return Ok(()) };
    let literal = |term: &Term| match term {
        Term::Literal(Val::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    let flags = match flags.and_then(|at| arguments.get(at)) {
        None | Some(Term::Literal(Val::Null)) => Some(String::new()),
        Some(term) => literal(term),
    };
    match (literal(pattern), flags) {
        (Some(pattern), Some(flags)) => compiled(&pattern, &flags, false).map(drop),
        (_, _) => Ok(()),
    }
}
