//! Jobs: work that a vendor has accepted and not done yet.

/// What a vendor says of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Not done yet.
    Running,
    /// Done: so many of its rows were applied, and so many rejected.
    Done {
        /// Rows applied.
        applied: u64,
        /// Rows rejected; the vendor does not say which.
        rejected: u64,
        /// The same as a sentence, with the job's number.
        sentence: String,
    },
    /// It failed as a whole: nothing was applied, and it may be sent again.
    Failed(String),
    /// The vendor does not know it, or not any more.
    Unknown(String),
}
