//! Regular expressions in jq (`test`, `match`, `sub`, …), by an engine without backtracking. Pure: the last few patterns are
//! kept compiled.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use jaq_core::{Cv, Error, ValR};
use lru::LruCache;
use regex::{Captures, Regex, RegexBuilder};

use super::expression::Jq;
use super::fuel;
use super::value::Val;

/// Most bytes of a pattern.
const LONGEST: usize = 4096;
/// Most bytes of a compiled pattern: a search takes time in proportion to it.
const COMPILED: usize = 256 * 1024;
/// How many compiled patterns each thread keeps.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Bytes of text searched for one unit of work.
const SEARCHED: usize = 64;

thread_local! {
    static COMPILED_PATTERNS: RefCell<LruCache<(String, String), Regex>> = RefCell::new(LruCache::new(KEPT));
}

/// The parts of the input that do not match, those that match, or both, in order.
pub(super) fn matches(mut cv: Cv<'_, Jq>, others: bool, found: bool) -> ValR<Val> {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let (Val::Text(text), Val::Text(pattern), Val::Text(flags)) = (&cv.1, &pattern, &flags) else {
        let wrong = [&cv.1, &pattern, &flags].into_iter().find(|value| !matches!(value, Val::Text(_)));
        return Err(Error::typ(wrong.map_or(Val::Null, Val::share), "string"));
    };
    let regex = compiled(pattern, flags)?;
    let (global, skip_empty) = (flags.contains('g'), flags.contains('n'));
    // Characters are counted once, going forward with the matches.
    let (mut parts, mut rest_from, mut counted) = (Vec::new(), 0, (0, 0));
    let per_search = 1 + pattern.len() / SEARCHED;
    let mut captures = regex.captures_iter(text);
    let mut searched_from = 0;
    loop {
        fuel::charge(1 + (text.len() - searched_from) / SEARCHED * per_search);
        let Some(capture) = captures.next() else { break };
        let Some(whole) = capture.get(0) else { break };
        searched_from = whole.end();
        if skip_empty && whole.is_empty() {
            continue;
        }
        if others {
            parts.push(Val::text(&text[rest_from..whole.start()]));
            rest_from = whole.end();
        }
        if found {
            counted.1 += text[counted.0..whole.start()].chars().count();
            counted.0 = whole.start();
            parts.push(groups(text, &regex, &capture, counted));
        }
        if !global {
            break;
        }
    }
    if others {
        parts.push(Val::text(&text[rest_from..]));
    }
    Ok(Val::array(parts))
}

/// The whole match and each group: where it stands, how long it is, what it is, and its name.
fn groups(text: &str, regex: &Regex, capture: &Captures<'_>, (byte, character): (usize, usize)) -> Val {
    let named = capture.iter().zip(regex.capture_names());
    named
        .filter_map(|(group, name)| group.map(|group| (group, name)))
        .map(|(group, name)| {
            let before = text.get(byte..group.start()).map_or(0, |before| before.chars().count());
            let mut fields = vec![
                ("offset", Val::from(character + before)),
                ("length", Val::from(group.as_str().chars().count())),
                ("string", Val::text(group.as_str())),
            ];
            fields.extend(name.map(|name| ("name", Val::text(name))));
            Val::object(fields.into_iter().map(|(key, value)| (Rc::from(key), value)).collect())
        })
        .collect()
}

fn compiled(pattern: &str, flags: &str) -> Result<Regex, Error<Val>> {
    if pattern.len() > LONGEST {
        return Err(Error::str(format_args!("a regular expression has over {LONGEST} bytes")));
    }
    let key = (pattern.to_owned(), flags.to_owned());
    COMPILED_PATTERNS.with_borrow_mut(|kept| {
        if let Some(regex) = kept.get(&key) {
            return Ok(regex.clone());
        }
        fuel::charge(1000 + pattern.len() * 10);
        let regex = compile(pattern, flags)?;
        kept.put(key, regex.clone());
        Ok(regex)
    })
}

fn compile(pattern: &str, flags: &str) -> Result<Regex, Error<Val>> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(COMPILED).nest_limit(100);
    for flag in flags.chars() {
        match flag {
            'g' | 'n' => {}
            'i' => drop(builder.case_insensitive(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'm' => drop(builder.multi_line(true)),
            'p' => drop(builder.multi_line(true).dot_matches_new_line(true)),
            'l' => drop(builder.swap_greed(true)),
            other => return Err(Error::str(format_args!("{other:?} is not a flag of a regular expression"))),
        }
    }
    builder.build().map_err(|error| Error::str(format_args!("not a regular expression: {error}")))
}
