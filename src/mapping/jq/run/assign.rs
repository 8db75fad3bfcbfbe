//! `=`, `|=`, `+=` and the like: changes what stands at the paths of the left side. Pure.

use super::super::natives::operator;
use super::super::paths;
use super::super::term::{Operator, Term};
use super::super::value::Val;
use super::{Flow, Out, PathValue, Run, Scope, Stop};
use crate::mapping::fuel;

impl<'p> Run<'p> {
    pub(super) fn change<'e>(&self, term: &'e Term, scope: Scope<'e>, at: PathValue, out: Out<'_>) -> Flow
    where
        'p: 'e,
    {
        match term {
            Term::Modify(pair) => {
                let found = self.paths(&pair.0, scope, &at.value)?;
                let value = self.modified(found, at.value.clone(), &mut |old| {
                    Ok(self.first_of(&pair.1, scope, PathValue::of(old))?.map(|place| place.value))
                })?;
                out(at.with(value))
            }
            Term::Assign(pair) => self.each(&pair.1, scope, &at.value, &mut |new| {
                let found = self.paths(&pair.0, scope, &at.value)?;
                let set = |value, path: Vec<Val>| paths::set(value, &path, &new);
                out(at.with(found.into_iter().try_fold(at.value.clone(), set)?))
            }),
            Term::Calculate(operator, pair) => self.calculated(*operator, pair, scope, &at, out),
            _ => Ok(()),
        }
    }

    fn calculated<'e>(
        &self,
        operator: Option<Operator>,
        pair: &'e (Term, Term),
        scope: Scope<'e>,
        at: &PathValue,
        out: Out<'_>,
    ) -> Flow
    where
        'p: 'e,
    {
        self.each(&pair.1, scope, &at.value, &mut |right| {
            let found = self.paths(&pair.0, scope, &at.value)?;
            let value = self.modified(found, at.value.clone(), &mut |old| match operator {
                Some(operator) => operator::apply(operator, old, right.clone()).map(Some),
                None => Ok(Some(if old.is_true() { old } else { right.clone() })),
            })?;
            out(at.with(value))
        })
    }

    fn paths<'e>(&self, of: &'e Term, scope: Scope<'e>, value: &Val) -> Result<Vec<Vec<Val>>, Stop>
    where
        'p: 'e,
    {
        let mut found = Vec::new();
        self.run(of, scope, PathValue::root(value.clone()), &mut |place| {
            fuel::weigh(found.len());
            found.push(place.keys()?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Where an update gives nothing the place is deleted, once all others are changed.
    fn modified(
        &self,
        found: Vec<Vec<Val>>,
        mut value: Val,
        update: &mut dyn FnMut(Val) -> Result<Option<Val>, Stop>,
    ) -> Result<Val, Stop> {
        let mut gone = Vec::new();
        for path in found {
            let old = paths::take(&mut value, &path)?;
            match update(old)? {
                Some(new) => value = paths::set(value, &path, &new)?,
                None => gone.push(path),
            }
        }
        if gone.is_empty() { Ok(value) } else { paths::delete(value, gone) }
    }
}
