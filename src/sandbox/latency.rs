//! How long a vendor takes to answer: a text or a vendor's name comes in, a latency goes out. Pure: chance comes from a seed, so
//! that a run can be repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// How many times the mean the longest answer takes, where nothing is said about it.
const MOST: u32 = 10;
/// No answer takes longer.
const LONGEST: Duration = Duration::from_hours(1);

/// How long answers take, written `300ms`, `0`, `exp:300ms`, `exp:300ms:3s` or `typical`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Latency {
    /// As that vendor's answers may well take.
    #[default]
    Typical,
    /// All the same.
    Fixed(Duration),
    /// Exponentially distributed: most are quick and a few are slow, one in a hundred takes 4.6 times the mean.
    Exponential {
        /// The mean.
        mean: Duration,
        /// None takes longer.
        most: Duration,
    },
}

impl Latency {
    /// Answers come at once.
    pub const NONE: Self = Self::Fixed(Duration::ZERO);

    /// Exponentially distributed, and never longer than ten times the mean.
    #[must_use]
    pub const fn exponential(mean: Duration) -> Self {
        Self::Exponential { mean, most: mean.saturating_mul(MOST) }
    }

    /// The latency of one answer, of a vendor for which that is `typical`.
    fn draw(self, typical: Self, chance: &mut fastrand::Rng) -> Duration {
        match (self, typical) {
            (Self::Typical, Self::Typical) => Duration::ZERO,
            (Self::Typical, typical) => typical.draw(Self::NONE, chance),
            (Self::Fixed(time), _) => time,
            (Self::Exponential { mean, most }, _) => mean.mul_f64(-(1.0 - chance.f64()).ln()).min(most),
        }
    }
}

impl FromStr for Latency {
    type Err = LatencyError;

    fn from_str(text: &str) -> Result<Self, LatencyError> {
        let unreadable = || LatencyError::Unreadable(text.to_owned());
        let time = |part: &str| time(part).ok_or_else(unreadable);
        match text.split(':').collect::<Vec<_>>()[..] {
            ["typical"] => Ok(Self::Typical),
            [fixed] => time(fixed).map(Self::Fixed),
            ["exp", mean] => time(mean).map(Self::exponential),
            ["exp", mean, most] => Ok(Self::Exponential { mean: time(mean)?, most: time(most)? }),
            _ => Err(unreadable()),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typical => write!(f, "typical"),
            Self::Fixed(time) => write!(f, "{time:?}"),
            Self::Exponential { mean, most } => write!(f, "exp:{mean:?}:{most:?}"),
        }
    }
}

impl TryFrom<String> for Latency {
    type Error = LatencyError;

    fn try_from(text: String) -> Result<Self, LatencyError> {
        text.parse()
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> Self {
        latency.to_string()
    }
}

/// A time of an hour at most.
fn time(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let time = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
    (time <= LONGEST).then_some(time)
}

/// A latency for one vendor, written `act-on=1s`, or for all, written `1s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyOf {
    /// The vendor's name; none: every vendor.
    pub vendor: Option<String>,
    /// How long its answers take.
    pub latency: Latency,
}

impl From<Latency> for LatencyOf {
    /// Every vendor's.
    fn from(latency: Latency) -> Self {
        Self { vendor: None, latency }
    }
}

impl FromStr for LatencyOf {
    type Err = LatencyError;

    fn from_str(text: &str) -> Result<Self, LatencyError> {
        match text.split_once('=') {
            Some((vendor, latency)) => Ok(Self { vendor: Some(vendor.to_owned()), latency: latency.parse()? }),
            None => text.parse::<Latency>().map(Self::from),
        }
    }
}

/// A latency that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatencyError {
    /// It cannot be read.
    #[error(
        "{0:?} is not a latency: write a time of an hour at most such as 300ms, 0 for none, exp:300ms for an exponential one with that \
         mean, exp:300ms:3s for one that is never longer, or typical"
    )]
    Unreadable(String),
    /// It is for nobody.
    #[error("{0:?} is no vendor that the sandbox plays: write {1}")]
    Unknown(String, String),
}

/// The latency of each vendor.
#[derive(Debug)]
pub(super) struct Latencies {
    /// By name: what is typical and what was asked for.
    vendors: BTreeMap<&'static str, (Latency, Latency)>,
    chance: fastrand::Rng,
}

impl Latencies {
    /// Typical ones for these vendors.
    pub fn typical(vendors: impl IntoIterator<Item = (&'static str, Latency)>, seed: u64) -> Self {
        let vendors = vendors.into_iter().map(|(name, typical)| (name, (typical, Latency::Typical))).collect();
        Self { vendors, chance: fastrand::Rng::with_seed(seed) }
    }

    /// Follows all of these in turn from now on, or none of them where one is for nobody.
    ///
    /// # Errors
    /// [`LatencyError::Unknown`] names the vendors that there are.
    pub fn set(&mut self, asked: &[LatencyOf]) -> Result<(), LatencyError> {
        let mut vendors = self.vendors.clone();
        for LatencyOf { vendor, latency } in asked {
            match vendor.as_deref() {
                None => vendors.values_mut().for_each(|(_, asked)| *asked = *latency),
                Some(name) => {
                    let known = || vendors.keys().copied().collect::<Vec<_>>().join(", ");
                    let unknown = LatencyError::Unknown(name.to_owned(), known());
                    vendors.get_mut(name).ok_or(unknown)?.1 = *latency;
                }
            }
        }
        self.vendors = vendors;
        Ok(())
    }

    /// How long the next answer of that vendor takes.
    pub fn draw(&mut self, vendor: &str) -> Duration {
        let (typical, asked) = self.vendors.get(vendor).copied().unwrap_or_default();
        asked.draw(typical, &mut self.chance)
    }

    /// What each vendor's is.
    pub fn list(&self) -> BTreeMap<&'static str, Latency> {
        let now = |(typical, asked): &(Latency, Latency)| if *asked == Latency::Typical { *typical } else { *asked };
        self.vendors.iter().map(|(name, latencies)| (*name, now(latencies))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn latencies(asked: &[&str]) -> Latencies {
        let typical = [("px", Latency::exponential(300 * MS)), ("hook", Latency::exponential(100 * MS))];
        let mut latencies = Latencies::typical(typical, 1);
        latencies.set(&asked.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>()).unwrap();
        latencies
    }

    fn drawn(latencies: &mut Latencies, vendor: &str) -> Vec<Duration> {
        let mut drawn: Vec<Duration> = (0..10_000).map(|_| latencies.draw(vendor)).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn latencies_are_read_and_written_alike() {
        for text in ["typical", "300ms", "1.5s", "0ns", "exp:300ms:3s"] {
            assert_eq!(text.parse::<Latency>().unwrap().to_string(), text);
        }
        assert_eq!("0".parse(), Ok(Latency::NONE));
        assert_eq!("exp:300ms".parse::<Latency>().unwrap().to_string(), "exp:300ms:3s");
        for text in ["", "300", "fast", "-1s", "2h", "exp", "exp:", "exp:1s:", "exp:1s:2s:3s", "px=1s", "exp=1s"] {
            assert!(text.parse::<Latency>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_typical_latency_has_its_mean_and_its_slow_hundredth() {
        let drawn = drawn(&mut latencies(&[]), "px");
        let mean = drawn.iter().sum::<Duration>() / 10_000;
        assert!((280 * MS..320 * MS).contains(&mean), "{mean:?}");
        assert!((1_250 * MS..1_500 * MS).contains(&drawn[9_900]), "{:?}", drawn[9_900]);
        assert!(drawn[9_999] <= 3_000 * MS);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(drawn(&mut latencies(&[]), "px"), drawn(&mut latencies(&[]), "px"));
    }

    #[test]
    fn the_longest_is_kept_to() {
        assert_eq!(drawn(&mut latencies(&["exp:300ms:310ms"]), "px").last(), Some(&(310 * MS)));
    }

    #[test]
    fn one_vendor_can_have_its_own_and_what_is_said_last_holds() {
        let mut latencies = latencies(&["px=1s", "20ms", "hook=0"]);
        assert_eq!((latencies.draw("px"), latencies.draw("hook")), (20 * MS, Duration::ZERO));
        latencies.set(&["px=typical".parse().unwrap()]).unwrap();
        assert_eq!(latencies.list()["px"], Latency::exponential(300 * MS));
        assert_eq!(latencies.list()["hook"], Latency::NONE);
    }

    #[test]
    fn of_a_list_with_an_unknown_vendor_none_is_followed() {
        let mut latencies = latencies(&["0"]);
        let error = latencies.set(&["1s".parse().unwrap(), "xp=1s".parse().unwrap()]).unwrap_err();
        assert_eq!(error.to_string(), "\"xp\" is no vendor that the sandbox plays: write hook, px");
        assert_eq!(latencies.list()["px"], Latency::NONE);
    }
}
