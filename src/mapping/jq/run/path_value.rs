//! A value, and where it stands in the one that a path began at. Pure.

use std::sync::Arc;

use super::super::paths;
use super::super::value::Val;
use super::{Flow, Out, Stop, error};

/// A value on its way through a program.
#[derive(Clone, Debug)]
pub(in crate::mapping::jq) struct PathValue {
    pub value: Val,
    /// Kept only inside of `path(…)` and what is left of an assignment.
    pub trail: Option<Arc<Trail>>,
}

/// The way to a value.
#[derive(Debug)]
pub(in crate::mapping::jq) struct Trail {
    /// The last step, and the way up to it.
    last: Option<(Val, Arc<Trail>)>,
    /// What it leads to. A value that is not this one has no path.
    value: Val,
}

/// Step by step: a way may be longer than the stack is deep.
impl Drop for Trail {
    fn drop(&mut self) {
        let mut next = self.last.take();
        while let Some((_, trail)) = next {
            next = Arc::into_inner(trail).and_then(|mut trail| trail.last.take());
        }
    }
}

impl Trail {
    /// The keys of the way.
    pub fn keys(&self) -> Vec<Val> {
        let (mut keys, mut trail) = (Vec::new(), self);
        while let Some((key, before)) = &trail.last {
            keys.push(key.clone());
            trail = before;
        }
        keys.reverse();
        keys
    }
}

impl PathValue {
    pub fn of(value: Val) -> Self {
        Self { value, trail: None }
    }

    /// Where a path begins.
    pub fn root(value: Val) -> Self {
        let trail = Arc::new(Trail { last: None, value: value.clone() });
        Self { value, trail: Some(trail) }
    }

    /// Another value, which has no path unless it is the same.
    pub fn with(&self, value: Val) -> Self {
        Self { value, trail: self.trail.clone() }
    }

    /// The keys that lead here.
    pub fn keys(&self) -> Result<Vec<Val>, Stop> {
        match &self.trail {
            Some(trail) if trail.value.is_same(&self.value) => Ok(trail.keys()),
            Some(_) | None => {
                Err(error(format!("Invalid path expression with result {}", super::super::write::text(&self.value))))
            }
        }
    }

    fn check(&self, attempt: impl FnOnce() -> String) -> Result<(), Stop> {
        match &self.trail {
            Some(trail) if !trail.value.is_same(&self.value) => {
                let value = super::super::write::text(&self.value);
                Err(error(format!("Invalid path expression near attempt to {} {value}", attempt())))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn on(&self, key: Val, value: Val) -> Self {
        let trail = self
            .trail
            .as_ref()
            .map(|trail| Arc::new(Trail { last: Some((key, Arc::clone(trail))), value: value.clone() }));
        Self { value, trail }
    }

    /// What stands at a key.
    pub fn step(&self, key: Val) -> Result<Self, Stop> {
        self.check(|| format!("access element {} of", super::super::write::text(&key)))?;
        let value = paths::get(&self.value, &key)?;
        Ok(self.on(key, value))
    }

    /// Each of what it holds.
    pub fn steps(&self, out: Out<'_>) -> Flow {
        self.check(|| "iterate through".to_owned())?;
        match &self.value {
            Val::Array(array) => array.items.iter().enumerate().try_for_each(|(at, item)| {
                crate::mapping::fuel::charge(1);
                let key = if self.trail.is_some() { Val::count(at) } else { Val::Null };
                out(self.on(key, item.clone()))
            }),
            Val::Object(object) => object.fields.iter().try_for_each(|(key, value)| {
                crate::mapping::fuel::charge(1);
                out(self.on(Val::Text(Arc::clone(key)), value.clone()))
            }),
            Val::Null | Val::Bool(_) | Val::Number(_) | Val::Text(_) => {
                Err(error(format!("Cannot iterate over {}", self.value.shown())))
            }
        }
    }

    /// The whole way at once, as `getpath` goes: where there is nothing it ends in null.
    pub fn walk(&self, keys: &[Val]) -> Result<Self, Stop> {
        self.check(|| "access element of".to_owned())?;
        let mut place = self.clone();
        for key in keys {
            let value = paths::get(&place.value, key)?;
            place = place.on(key.clone(), value);
        }
        Ok(place)
    }
}
