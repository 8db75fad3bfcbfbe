//! `as`: takes values apart and binds the parts. Pure.

use super::super::term::{Bind, FieldPattern, Pattern, Patterns};
use super::super::value::Val;
use super::{Flow, Out, PathValue, Run, Scope, Stop, error};
use crate::mapping::jq::paths;

type Bound = Vec<Val>;

impl<'p> Run<'p> {
    pub(super) fn bind<'e>(&self, bind: &'e Bind, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        self.each(&bind.source, scope, &at.value.clone(), &mut |value| {
            if let [Pattern::Variable(_)] = bind.patterns.alternatives.as_slice() {
                let bound = super::Binding { what: super::What::Value(value), before: scope };
                return self.run(&bind.body, Some(&bound), at.clone(), out);
            }
            self.taken_apart(&bind.patterns, value, scope, &at.value, &mut |scope| {
                self.run(&bind.body, scope, at.clone(), out)
            })
        })
    }

    /// Does `then` for each way to take a value apart. With alternatives an error of one, in what follows too, leads to the next.
    pub(super) fn taken_apart<'e>(
        &self,
        patterns: &'e Patterns,
        value: Val,
        scope: Scope<'e>,
        input: &Val,
        then: &mut dyn FnMut(Scope<'_>) -> Flow,
    ) -> Flow
    where
        'p: 'e,
    {
        let last = patterns.alternatives.len().saturating_sub(1);
        for (at, pattern) in patterns.alternatives.iter().enumerate() {
            let bound = vec![Val::Null; patterns.variables];
            let done =
                self.pattern(pattern, value.clone(), bound, scope, input, &mut |bound| self.with(bound, scope, then));
            match done {
                Err(Stop::Error(_)) if at < last => {}
                other => return other,
            }
        }
        Ok(())
    }

    fn pattern<'e>(
        &self,
        pattern: &'e Pattern,
        value: Val,
        mut bound: Bound,
        scope: Scope<'e>,
        input: &Val,
        then: &mut dyn FnMut(Bound) -> Flow,
    ) -> Flow
    where
        'p: 'e,
    {
        match pattern {
            Pattern::Variable(at) => {
                set(&mut bound, *at, value);
                then(bound)
            }
            Pattern::Array(items) => self.items(items, 0, &value, bound, scope, input, then),
            Pattern::Object(fields) => self.fields(fields, &value, bound, scope, input, then),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "where it is in the pattern, and what the pattern is matched with")]
    fn items<'e>(
        &self,
        items: &'e [Pattern],
        at: usize,
        value: &Val,
        bound: Bound,
        scope: Scope<'e>,
        input: &Val,
        then: &mut dyn FnMut(Bound) -> Flow,
    ) -> Flow
    where
        'p: 'e,
    {
        let Some(pattern) = items.get(at) else { return then(bound) };
        if !matches!(value, Val::Null | Val::Array(_)) {
            return Err(error(format!("Cannot index {} with number", value.kind())));
        }
        let item = paths::get(value, &Val::count(at))?;
        self.pattern(pattern, item, bound, scope, input, &mut |bound| {
            self.items(items, at + 1, value, bound, scope, input, then)
        })
    }

    fn fields<'e>(
        &self,
        fields: &'e [FieldPattern],
        value: &Val,
        bound: Bound,
        scope: Scope<'e>,
        input: &Val,
        then: &mut dyn FnMut(Bound) -> Flow,
    ) -> Flow
    where
        'p: 'e,
    {
        let Some((field, rest)) = fields.split_first() else { return then(bound) };
        let seen = bound.get(..field.seen).unwrap_or(&[]).to_vec();
        self.with(seen, scope, &mut |inner| {
            self.each(&field.key, inner, input, &mut |key| {
                let item = paths::get(value, &key)?;
                let mut bound = bound.clone();
                if let Some(variable) = field.variable {
                    set(&mut bound, variable, item.clone());
                }
                match &field.parts {
                    None => self.fields(rest, value, bound, scope, input, then),
                    Some(parts) => self.pattern(parts, item, bound, scope, input, &mut |bound| {
                        self.fields(rest, value, bound, scope, input, then)
                    }),
                }
            })
        })
    }
}

fn set(bound: &mut Bound, at: usize, value: Val) {
    if let Some(slot) = bound.get_mut(at) {
        *slot = value;
    }
}
