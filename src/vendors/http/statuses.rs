//! The statuses whose meaning a destination sets. Those that are about the account or the request as such, and not about the event, mean
//! what they always mean.

use crate::section::Section;

/// Three lists; any other status means what RFC 9110 says.
#[derive(Debug)]
pub(super) struct Statuses {
    /// Taken.
    pub success: Vec<i64>,
    /// Try again later.
    pub retry: Vec<i64>,
    /// Never again.
    pub reject: Vec<i64>,
}

impl Statuses {
    pub fn read(section: &mut Section<'_>) -> Self {
        let mut statuses = |key: &str| {
            let twice = "is there twice; remove one";
            let mend = |earlier: &[i64], status| mend(key, status).or(earlier.contains(&status).then_some(twice));
            section.integers(key, 100..=599, |earlier, status| mend(earlier, status).map(str::to_owned))
        };
        let (success, retry, reject) = (statuses("success"), statuses("retry_statuses"), statuses("reject"));
        if let Some(status) = success.iter().find(|s| retry.contains(s) || reject.contains(s)) {
            section.problem("success", format!("{status} is in another list too; a status means one thing"));
        } else if let Some(status) = retry.iter().find(|s| reject.contains(s)) {
            section.problem("retry_statuses", format!("{status} is in reject too; a status means one thing"));
        }
        Self { success, retry, reject }
    }

    /// Whether a list has it.
    pub fn has(&self, status: u16) -> bool {
        [&self.success, &self.retry, &self.reject].iter().any(|list| list.contains(&i64::from(status)))
    }
}

/// Why a status cannot be listed, and what to do.
fn mend(key: &str, status: i64) -> Option<&'static str> {
    Some(match status {
        100..=199 => "is never the last answer to a request; remove it",
        200..=299 if key == "retry_statuses" => {
            "says that the API took the event, and sending it again would double it; remove it"
        }
        200..=299 if key == "reject" => {
            "says that the API took the event; remove it, and list in `success` the only statuses that do mean so"
        }
        401 => "always means that the credentials are refused: the destination parks, and no event is lost; remove it",
        407 => "always means that the proxy refuses: events wait; remove it",
        413 => "always means that the request is too large: a batch is split; remove it",
        429 => {
            "always means that the API is throttling: the gate closes for as long as it says, and events wait; remove it"
        }
        _ => return None,
    })
}
