//! Static analysis of an expression, whatever the event is: which terms give a text written in the expression, which put a text together, and
//! which may give an address that is written in the expression. Pure.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what gives no text of the expression is the event's, whichever term it is"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::jq::{self, Bind, Call, Fold, Format, Function, Native, Operator, Part, Pattern, Program, Term, Val};

/// Filters that look at their argument, or take it away: it does not come out.
const LOOKING: [&str; 11] = [
    "startswith",
    "endswith",
    "ltrimstr",
    "rtrimstr",
    "trimstr",
    "contains",
    "has",
    "index",
    "rindex",
    "indices",
    "split",
];
/// Filters whose first argument is a pattern.
const MATCHING: [&str; 8] = ["test", "match", "capture", "scan", "split", "splits", "sub", "gsub"];

/// What is known at one place of a program.
#[derive(Clone)]
pub(super) struct Analysis<'a> {
    functions: &'a [Function],
    seen: &'a AnalysisCache,
    /// For each binding, the innermost last.
    bound: Vec<Known>,
    /// Whether an address of the expression may be in what goes in.
    pub input: bool,
    /// Or in what a parameter gives.
    pub parameters: bool,
    /// Whether what an error says may come out.
    caught: bool,
}

/// What is known of a variable's value.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    is_written: bool,
    has_address: bool,
}

/// What is known of functions: each stands in one place, and means the same wherever it is called.
#[derive(Debug, Default)]
pub(super) struct AnalysisCache {
    has: RefCell<BTreeMap<usize, bool>>,
    puts_together: RefCell<BTreeMap<usize, bool>>,
    gives_address: RefCell<BTreeMap<(usize, bool, bool, bool), bool>>,
}

impl<'a> Analysis<'a> {
    /// What is known where a program begins.
    pub fn of(program: &'a Program, seen: &'a AnalysisCache) -> Self {
        // `$event` is the one that is bound from outside.
        Self {
            functions: &program.functions,
            seen,
            bound: vec![Known::default()],
            input: false,
            parameters: false,
            caught: false,
        }
    }

    /// Whether the term gives a text of the expression, or one of several, whatever the event is.
    pub fn has(&self, term: &Term) -> bool {
        match term {
            Term::Literal(Val::Text(_)) => true,
            Term::Variable(skip) => self.known(*skip).is_written,
            Term::Call(call) => match self.body(call) {
                Some((function, inside)) if function.values.is_empty() => {
                    once(&self.seen.has, call.function, || inside.has(&function.body))
                }
                _ => false,
            },
            Term::Operation(Operator::Add, pair) => self.has(&pair.0) && self.has(&pair.1),
            // A table of texts, of which the event chooses one.
            Term::Index(pair) => match &pair.0 {
                Term::Object(fields) => fields.iter().all(|(_, value)| self.has(value)),
                _ => false,
            },
            Term::Optional(term) => self.has(term),
            _ => false,
        }
    }

    /// Whether the term puts a text together, so that its parts can be told apart. `+` adds numbers too.
    pub fn puts_together(&self, term: &Term) -> bool {
        match term {
            Term::Text(..) => true,
            Term::Operation(Operator::Add, pair) | Term::Either(pair) | Term::Comma(pair) => {
                self.puts_together(&pair.0) || self.puts_together(&pair.1)
            }
            Term::Pipe(pair) => self.pipe_puts_together(&pair.0, &pair.1),
            Term::Bind(bind) => self.inside(bind).puts_together(&bind.body),
            Term::If(branches) => self.puts_together(&branches.1) || self.puts_together(&branches.2),
            Term::Try(parts) => self.puts_together(&parts.0),
            Term::Control(jq::Control::First, of) => of.iter().all(|of| self.puts_together(of)),
            Term::Call(call) => match self.body(call) {
                Some((function, inside)) => {
                    let puts_together = || inside.has(&function.body) || inside.puts_together(&function.body);
                    once(&self.seen.puts_together, call.function, puts_together)
                }
                None => false,
            },
            term => self.has(term),
        }
    }

    fn pipe_puts_together(&self, left: &Term, right: &Term) -> bool {
        let after = self.after(left);
        match (left, right) {
            (Term::Array(Some(items)), Term::Native(native, _)) if native.name == "add" => {
                listed(items).iter().any(|item| self.puts_together(item))
            }
            (left, Term::Native(native, between)) if native.name == "join" => match left {
                _ if each_of(left).is_some() => matches!(between.as_slice(), [Term::Literal(Val::Text(_))]),
                Term::Array(Some(_)) => between.iter().all(|between| self.has(between)),
                _ => false,
            },
            (left, right) if keeps_parts(right) => self.puts_together(left),
            (_, right) => after.puts_together(right),
        }
    }

    /// Whether an address that is written in the expression may come out of the term, in whatever way.
    pub fn gives_address(&self, term: &Term) -> bool {
        let both = |pair: &(Term, Term)| self.gives_address(&pair.0) || self.gives_address(&pair.1);
        let any = |terms: &[Term]| terms.iter().any(|term| self.gives_address(term));
        match term {
            Term::Identity | Term::Format(_) => self.input,
            Term::Literal(value) => is_address(&jq::text(value)),
            Term::Text(_, parts) => parts.iter().any(|part| match part {
                Part::Text(text) => is_address(text),
                Part::Term(term) => self.gives_address(term),
            }),
            Term::Array(items) => items.as_ref().is_some_and(|items| self.gives_address(items)),
            Term::Object(fields) => fields.iter().any(both),
            Term::Pipe(pair) => self.after(&pair.0).gives_address(&pair.1),
            Term::Operation(operator, _) if compares(*operator) => false,
            Term::Operation(_, pair) | Term::Comma(pair) | Term::Either(pair) => both(pair),
            Term::Assign(pair) | Term::Modify(pair) | Term::Calculate(_, pair) => self.input || both(pair),
            Term::Negate(_) | Term::And(_) | Term::Or(_) | Term::Break(_) => false,
            Term::Index(pair) => self.gives_address(&pair.0),
            Term::Slice(parts) => self.gives_address(&parts.0),
            Term::Iterate(of) | Term::Optional(of) => self.gives_address(of),
            Term::Try(parts) => {
                let Some(handler) = &parts.1 else { return self.gives_address(&parts.0) };
                let handled = self.handling(&parts.0);
                handled.input || handled.gives_address(handler)
            }
            Term::If(parts) => self.gives_address(&parts.1) || self.gives_address(&parts.2),
            Term::Reduce(fold) | Term::Foreach(fold) => self.fold_gives_address(fold),
            Term::Bind(bind) => self.inside(bind).gives_address(&bind.body),
            Term::Label(body) => self.binding(1, Known::default()).gives_address(body),
            Term::Variable(skip) => self.known(*skip).has_address,
            Term::Parameter(_) => self.parameters,
            Term::Call(call) => self.call_gives_address(call),
            Term::Native(native, _) if native.name == "error" && !self.caught => false,
            Term::Native(native, arguments) => self.input || !LOOKING.contains(&native.name) && any(arguments),
            Term::Control(_, arguments) => self.input || any(arguments),
        }
    }

    fn fold_gives_address(&self, fold: &Fold) -> bool {
        let has_address = self.gives_address(&fold.source) || self.gives_address(&fold.start);
        let inside = self.binding(fold.patterns.variables, Known { is_written: false, has_address });
        has_address || inside.gives_address(&fold.update) || fold.extract.iter().any(|term| inside.gives_address(term))
    }

    fn call_gives_address(&self, call: &Call) -> bool {
        if let Some((function, inside)) = self.body(call) {
            let key = (call.function, inside.input, inside.parameters, inside.caught);
            return once(&self.seen.gives_address, key, || inside.gives_address(&function.body));
        }
        let looked_at = match &call.arguments {
            arguments if call.is_jqs_own("select") => arguments.len(),
            _ if MATCHING.iter().any(|name| call.is_jqs_own(name)) => 1,
            _ => 0,
        };
        self.input || call.arguments.iter().skip(looked_at).any(|term| self.gives_address(term))
    }

    fn known(&self, skip: usize) -> Known {
        self.bound.iter().rev().nth(skip).copied().unwrap_or_default()
    }

    fn binding(&self, variables: usize, known: Known) -> Self {
        let mut inside = self.clone();
        inside.bound.extend(std::iter::repeat_n(known, variables));
        inside
    }

    /// What is known in the body of `source as pattern | body`.
    pub fn inside(&self, bind: &Bind) -> Self {
        let is_name = matches!(bind.patterns.alternatives.as_slice(), [Pattern::Variable(_)]);
        let is_written = is_name && self.has(&bind.source);
        let has_address = self.gives_address(&bind.source);
        self.binding(bind.patterns.variables, Known { is_written, has_address })
    }

    /// What is known in what follows `left |`.
    pub fn after(&self, left: &Term) -> Self {
        Self { input: self.gives_address(left), ..self.clone() }
    }

    /// What is known where an error of the body is caught: it may say all that the body saw.
    pub fn handling(&self, body: &Term) -> Self {
        let inside = Self { caught: true, ..self.clone() };
        Self { input: self.input || inside.gives_address(body), ..self.clone() }
    }

    /// A function of the program, and what is known in its body.
    pub fn body(&self, call: &Call) -> Option<(&'a Function, Self)> {
        let function = self.functions.get(call.function).filter(|_| !call.prelude)?;
        let outside = self.bound.len().saturating_sub(call.skip);
        let mut bound = self.bound.get(..outside).unwrap_or(&[]).to_vec();
        // It may catch what an argument says.
        let caller = Self { caught: true, ..self.clone() };
        let has_address = call.arguments.iter().any(|argument| caller.gives_address(argument));
        for is_value in &function.values {
            // Each parameter is bound as a filter, and `$a` as its value too.
            let known = Known { is_written: false, has_address };
            bound.extend(std::iter::repeat_n(known, if *is_value { 2 } else { 1 }));
        }
        let parameters = self.parameters || has_address;
        Some((function, Self { bound, parameters, ..self.clone() }))
    }
}

/// One that calls itself is not known before its end.
fn once<K: Ord + Copy>(seen: &RefCell<BTreeMap<K, bool>>, key: K, find: impl FnOnce() -> bool) -> bool {
    if let Some(known) = seen.borrow().get(&key) {
        return *known;
    }
    seen.borrow_mut().insert(key, false);
    let found = find();
    seen.borrow_mut().insert(key, found);
    found
}

fn is_address(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["//", "http:", "https:"].iter().any(|part| text.contains(part))
}

fn compares(operator: Operator) -> bool {
    match operator {
        Operator::Equal
        | Operator::Unequal
        | Operator::Less
        | Operator::LessOrEqual
        | Operator::Greater
        | Operator::GreaterOrEqual => true,
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => false,
    }
}

/// What `[…]` lists one by one.
pub(super) fn listed(items: &Term) -> Vec<&Term> {
    match items {
        Term::Comma(pair) => listed(&pair.0).into_iter().chain(listed(&pair.1)).collect(),
        item => vec![item],
    }
}

/// What gives the items of `map(f)` or `[a | f]`: `a`, and `f` for each of its values.
pub(super) fn each_of(term: &Term) -> Option<(Term, &Term)> {
    match term {
        Term::Call(call) if call.is_jqs_own("map") => {
            call.arguments.first().map(|each| (Term::Iterate(Box::new(Term::Identity)), each))
        }
        Term::Array(Some(items)) => match &**items {
            Term::Pipe(pair) => Some((pair.0.clone(), &pair.1)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether what goes in comes out, part by part.
pub(super) fn keeps_parts(term: &Term) -> bool {
    match term {
        Term::Identity | Term::Format(Format::Text) => true,
        Term::Native(native, _) => native.name == "tostring" || changes_case(native),
        Term::Pipe(pair) => keeps_parts(&pair.0) && keeps_parts(&pair.1),
        _ => false,
    }
}

pub(super) fn changes_case(native: &Native) -> bool {
    ["ascii_downcase", "ascii_upcase"].contains(&native.name)
}
