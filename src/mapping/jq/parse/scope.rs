//! The names that a place in a program can see. Pure.

use super::super::natives;
use super::super::prelude;
use super::super::term::{Call, Term};
use super::Parser;

/// No filter of jq's own takes more.
const MOST_PARAMETERS: usize = 6;
/// What jq has and a map has not, each with its reason in docs/jq.md.
const LEFT_OUT: [&str; 14] = [
    "env",
    "now",
    "localtime",
    "strflocaltime",
    "input",
    "inputs",
    "input_filename",
    "input_line_number",
    "debug",
    "stderr",
    "halt",
    "halt_error",
    "modulemeta",
    "get_search_list",
];

/// A name. All but functions are bindings: while the program runs there is a place for each.
pub(super) enum Name {
    Variable(String),
    /// A parameter that is a filter.
    Filter(String),
    Label(String),
    Function {
        name: String,
        parameters: usize,
        function: usize,
    },
}

impl Name {
    fn is_binding(&self) -> bool {
        match self {
            Self::Variable(_) | Self::Filter(_) | Self::Label(_) => true,
            Self::Function { .. } => false,
        }
    }
}

impl Parser<'_> {
    /// The innermost name that fits, and how many bindings stand before it.
    fn find(&self, fits: impl Fn(&Name) -> bool) -> Option<(&Name, usize)> {
        let mut skip = 0;
        for name in self.names.iter().rev() {
            if fits(name) {
                return Some((name, skip));
            }
            skip += usize::from(name.is_binding());
        }
        None
    }

    pub(super) fn variable(&self, wanted: &str, at: usize) -> Result<Term, String> {
        let found = self.find(|known| matches!(known, Name::Variable(name) if name == wanted));
        let Some((_, skip)) = found else { return Err(self.unknown(at, "variable", &format!("${wanted}"))) };
        Ok(Term::Variable(skip))
    }

    pub(super) fn label(&self, wanted: &str, at: usize) -> Result<Term, String> {
        let found = self.find(|known| matches!(known, Name::Label(name) if name == wanted));
        let Some((_, skip)) = found else { return Err(self.unknown(at, "label", &format!("${wanted}"))) };
        Ok(Term::Break(skip))
    }

    /// A filter by its name: a parameter, a function of the program, one of jq's own in Rust or in jq.
    pub(super) fn filter(&self, wanted: &str, arguments: Vec<Term>, at: usize) -> Result<Term, String> {
        let count = arguments.len();
        let found = self.find(|known| match known {
            Name::Filter(name) => count == 0 && name == wanted,
            Name::Variable(_) | Name::Label(_) => false,
            Name::Function { name, parameters, .. } => *parameters == count && name == wanted,
        });
        match found {
            Some((Name::Filter(_), skip)) => return Ok(Term::Parameter(skip)),
            Some((Name::Function { function, .. }, skip)) => {
                let (function, prelude) = (*function, self.is_prelude);
                return Ok(Term::Call(Box::new(Call { prelude, function, skip, arguments })));
            }
            Some((Name::Variable(_) | Name::Label(_), _)) | None => {}
        }
        // Those are for jq's own definitions.
        if wanted.starts_with('_') && !self.is_prelude {
            return Err(self.unknown(at, "filter", wanted));
        }
        if let Some(control) = natives::control(wanted, count) {
            return Ok(Term::Control(control, arguments));
        }
        if let Some(native) = natives::find(wanted, count) {
            return Ok(Term::Native(native, arguments));
        }
        if !self.is_prelude
            && let Some(function) = prelude::find(wanted, count)
        {
            // What jq's own definitions stand in has no bindings: all of the program's are left out.
            let skip = self.names.iter().filter(|name| name.is_binding()).count();
            return Ok(Term::Call(Box::new(Call { prelude: true, function, skip, arguments })));
        }
        Err(self.unknown_filter(at, wanted, count))
    }

    fn unknown_filter(&self, at: usize, wanted: &str, count: usize) -> String {
        let is_known = |count: usize| {
            natives::control(wanted, count).is_some()
                || natives::find(wanted, count).is_some()
                || prelude::find(wanted, count).is_some()
        };
        let others: Vec<String> =
            (0..=MOST_PARAMETERS).filter(|count| is_known(*count)).map(|n| n.to_string()).collect();
        let place = self.place(at);
        if !others.is_empty() {
            return format!("{place}: {wanted} takes {} arguments, not {count}", others.join(" or "));
        }
        if LEFT_OUT.contains(&wanted) {
            return format!(
                "{place}: {wanted} is left out on purpose: a map sees the event and nothing else (docs/jq.md)"
            );
        }
        self.unknown(at, "filter", wanted)
    }

    fn unknown(&self, at: usize, kind: &str, name: &str) -> String {
        format!("{}: the {kind} {name} is not known", self.place(at))
    }
}
