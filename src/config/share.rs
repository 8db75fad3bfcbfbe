//! A share of the gate, written `5%`.

use std::fmt;
use std::str::FromStr;

/// A share in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

/// A text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a share: write a percentage from \"0%\" to \"100%\", with two decimals at most, as in \"5%\"")]
pub struct ShareError;

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(10_000);
    /// What is left to bulk events unless another share is set.
    pub const BULK: Self = Self(500);

    /// In hundredths of a percent.
    #[must_use]
    pub fn parts(self) -> u32 {
        self.0
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::BULK
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            _ if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            _ => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').ok_or(ShareError)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) || whole.len() > 3 || part.len() > 2 {
            return Err(ShareError);
        }
        let hundredths: u32 = format!("{part:0<2}").parse().map_err(|_| ShareError)?;
        let whole: u32 = whole.parse().map_err(|_| ShareError)?;
        Some(whole * 100 + hundredths).filter(|parts| *parts <= Self::WHOLE.0).map(Self).ok_or(ShareError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        for (text, parts, shown) in [
            ("5%", 500, "5%"),
            ("0%", 0, "0%"),
            ("100%", 10_000, "100%"),
            ("2.5 %", 250, "2.5%"),
            ("0.05%", 5, "0.05%"),
        ] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.parts(), share.to_string().as_str()), (parts, shown), "{text}");
        }
        for wrong in ["5", "0.05", "101%", "100.01%", "-1%", "%", "five%", "1.234%", "1.%", "+5%", ""] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }
}
