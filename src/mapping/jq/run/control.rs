//! Filters that need to know paths, or run their arguments as they like. Pure.

use super::super::natives::operator;
use super::super::term::{Control, Term};
use super::super::value::Val;
use super::{Flow, Out, PathValue, Run, Scope, Stop, ended_by, error};
use crate::mapping::fuel;

impl<'p> Run<'p> {
    pub(super) fn control<'e>(
        &self,
        control: Control,
        arguments: &'e [Term],
        scope: Scope<'e>,
        at: PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        match (control, arguments) {
            (Control::Path, [of]) => self.run(of, scope, PathValue::root(at.value.clone()), &mut |place| {
                out(at.with(Val::array(place.keys()?)))
            }),
            (Control::GetPath, [path]) => self.each(path, scope, &at.value.clone(), &mut |path| match &path {
                Val::Array(keys) => out(at.walk(&keys.items)?),
                _ => Err(error("Path must be specified as an array")),
            }),
            (Control::First, [of]) => self.first_of(of, scope, at)?.map_or(Ok(()), out),
            (Control::Limit, [count, of]) => self.limit(count, of, scope, &at, out),
            (Control::IsEmpty, [of]) => {
                let first = self.first_of(of, scope, PathValue::of(at.value.clone()))?;
                out(at.with(Val::Bool(first.is_none())))
            }
            (Control::Until, [done, next]) => self.grow(at, out, &mut |place, out, grown| {
                self.each(done, scope, &place.value, &mut |is_done| {
                    if is_done.is_true() { out(place.clone()) } else { self.run(next, scope, place.clone(), grown) }
                })
            }),
            (Control::While, [goes_on, next]) => self.grow(at, out, &mut |place, out, grown| {
                self.each(goes_on, scope, &place.value, &mut |goes_on| {
                    if !goes_on.is_true() {
                        return Ok(());
                    }
                    out(place.clone())?;
                    self.run(next, scope, place.clone(), grown)
                })
            }),
            (Control::Repeat, [of]) => loop {
                self.run(of, scope, at.clone(), out)?;
            },
            (Control::Recurse, [of]) => self.grow(at, out, &mut |place, out, grown| {
                out(place.clone())?;
                self.run(of, scope, place, grown)
            }),
            (Control::Recurse, _) => self.grow(at, out, &mut |place, out, grown| {
                out(place.clone())?;
                if matches!(place.value, Val::Array(_) | Val::Object(_)) { place.steps(grown) } else { Ok(()) }
            }),
            (Control::Range, [from, to]) => self.each(from, scope, &at.value, &mut |from| {
                self.each(to, scope, &at.value, &mut |to| range(&from, &to, &at, out))
            }),
            // `empty`; the parser gives no others.
            (_, _) => Ok(()),
        }
    }

    /// The first value of a term, if it has any.
    pub(super) fn first_of<'e>(
        &self,
        term: &'e Term,
        scope: Scope<'e>,
        at: PathValue,
    ) -> Result<Option<PathValue>, Stop>
    where
        'p: 'e,
    {
        let (label, mut found) = (self.new_label(), None);
        let done = self.run(term, scope, at, &mut |place| {
            found = Some(place);
            Err(Stop::Break(label))
        });
        ended_by(label, done).map(|()| found)
    }

    fn limit<'e>(&self, count: &'e Term, of: &'e Term, scope: Scope<'e>, at: &PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        self.each(count, scope, &at.value, &mut |count| {
            let mut left = match &count {
                Val::Number(number) => number.as_f64(),
                // Both are less than any number.
                Val::Null | Val::Bool(_) => -1.0,
                // jq counts down.
                Val::Text(_) | Val::Array(_) | Val::Object(_) => {
                    return operator::cannot(&count, &Val::number(1.0), "subtracted");
                }
            };
            if left == 0.0 {
                return Ok(());
            }
            if left.is_nan() || left < 0.0 {
                return self.run(of, scope, at.clone(), out);
            }
            let label = self.new_label();
            let done = self.run(of, scope, at.clone(), &mut |place| {
                left -= 1.0;
                out(place)?;
                if left > 0.0 { Ok(()) } else { Err(Stop::Break(label)) }
            });
            ended_by(label, done)
        })
    }

    /// Depth first, without recursion: `step` hands on what a place gives, and tells which places grow out of it.
    fn grow(&self, at: PathValue, out: Out<'_>, step: &mut dyn FnMut(PathValue, Out<'_>, Out<'_>) -> Flow) -> Flow {
        let mut open: Vec<Result<PathValue, Stop>> = vec![Ok(at)];
        while let Some(next) = open.pop() {
            fuel::step();
            let (place, from) = (next?, open.len());
            let mut passed = false;
            let done = step(place, &mut |place| out(place).inspect_err(|_| passed = true), &mut |grown| {
                fuel::weigh(open.len());
                open.push(Ok(grown));
                Ok(())
            });
            match done {
                Err(stop) if passed => return Err(stop),
                // What grew before the error comes first.
                Err(stop) => open.push(Err(stop)),
                Ok(()) => {}
            }
            open.get_mut(from..).unwrap_or(&mut []).reverse();
        }
        Ok(())
    }
}

fn range(from: &Val, to: &Val, at: &PathValue, out: Out<'_>) -> Flow {
    let (Some(mut from), Some(to)) = (from.as_f64(), to.as_f64()) else {
        return Err(error("Range bounds must be numeric"));
    };
    while from < to {
        fuel::charge(1);
        out(at.with(Val::number(from)))?;
        from += 1.0;
    }
    Ok(())
}
