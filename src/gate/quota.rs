//! Quotas: how many requests an account may send in a window of time. Text in, a [`Limit`] out; never a clock.

use std::fmt;
use std::str::FromStr;

/// The stretch of time that a limit counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// One second (`/s`).
    Second,
    /// One minute (`/min`).
    Minute,
    /// One hour (`/h`).
    Hour,
    /// One day (`/day`), a budget.
    Day,
}

/// At most `count` requests in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests, at least 1.
    pub count: u32,
    /// In how long.
    pub window: Window,
}

/// The text is not a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a limit as \"200/s\", \"100/min\", \"18000/h\" or \"1000000/day\"")]
pub struct NotALimit;

impl FromStr for Limit {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        let (count, window) = text.split_once('/').ok_or(NotALimit)?;
        let window = match window {
            "s" => Window::Second,
            "min" => Window::Minute,
            "h" => Window::Hour,
            "day" => Window::Day,
            _ => return Err(NotALimit),
        };
        let count = count.parse().ok().filter(|&count| count > 0).ok_or(NotALimit)?;
        Ok(Self { count, window })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = match self.window {
            Window::Second => "s",
            Window::Minute => "min",
            Window::Hour => "h",
            Window::Day => "day",
        };
        write!(f, "{}/{window}", self.count)
    }
}
