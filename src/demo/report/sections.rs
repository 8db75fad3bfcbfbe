//! What each destination of the demo went through: the sandbox's books and what else was seen come in; figures go out, and
//! every promise that they show to be broken. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::demo::collect::Anomalies;
use crate::demo::events::purchases::PROFILES;
use crate::demo::figures::LatencySummary;
use crate::gate::JITTER;
use crate::sandbox::EndpointStats;

/// Sign-ins that the vendor of the backlogged destination allows in an hour.
const SIGN_INS_AN_HOUR: u64 = 5;

/// What each destination went through.
#[derive(Clone, Debug, Serialize)]
pub struct DemoFigures {
    /// The longest that this machine kept a task waiting, in seconds. A request that is held up for longer than [`JITTER`] on its way
    /// may fall into a later window than it was sent for: then a refusal is the machine's fault.
    pub worst_stall_seconds: f64,
    /// The gate of the troubled destination.
    pub gate: GateFigures,
    /// The destination with the backlog.
    pub backlog: BacklogFigures,
    /// The destination whose events have an order.
    pub ordered: OrderedFigures,
    /// The destination beside them.
    pub bystander: BystanderFigures,
}

/// What the gate of the troubled destination did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GateFigures {
    /// Requests that the vendor answered with 429.
    pub refused: u64,
    /// Of those, how many because they were over the limit.
    pub refused_over_the_limit: u64,
    /// Times that an event was put into a retry queue.
    pub retried: u64,
    /// Requests a second that the vendor allows.
    pub limit_per_second: f64,
    /// The share of that used while the gate was open and events waited.
    pub quota_used_while_open: Option<f64>,
    /// The share of it used from the first request to the last, all trouble included.
    pub quota_used_in_all: Option<f64>,
}

/// How the backlog was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BacklogFigures {
    /// Calls of any kind but sign-ins.
    pub calls: u64,
    /// Events that went alone, as facts.
    pub facts: u64,
    /// CSVs.
    pub csvs: u64,
    /// Questions how far a CSV's job is.
    pub job_questions: u64,
    /// Jobs that failed, and whose events were sent again.
    pub failed_jobs: u64,
    /// From the backlog's publication until the last of it was applied, in seconds.
    pub seconds: Option<f64>,
    /// Sign-ins and refreshed tokens.
    pub sign_ins: u64,
    /// Calls refused for a token that had been revoked.
    pub revoked: u64,
    /// Calls and sign-ins refused for being over a limit.
    pub refused: u64,
    /// Events that arrived otherwise than they were published.
    pub changed: u64,
}

/// How the events with an order were delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OrderedFigures {
    /// Calls with events.
    pub calls: u64,
    /// Profiles that they were for.
    pub profiles: u64,
    /// The most calls in any one second.
    pub busiest_second: u64,
    /// The most calls for one profile in any one second.
    pub busiest_second_of_a_profile: u64,
    /// Calls refused for being over a limit.
    pub refused: u64,
    /// Calls that broke a rule for bodies.
    pub invalid: u64,
    /// Events that arrived after a later one of their profile.
    pub out_of_order: u64,
    /// Events that arrived for another profile.
    pub misaddressed: u64,
    /// Dead letters that name the field of a wrong type.
    pub field_named: u64,
}

/// How the destination beside the others did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BystanderFigures {
    /// Calls, each with a JSON array of events.
    pub calls: u64,
    /// The time from event to delivery while the troubled destination's gate was open.
    pub while_open: Option<LatencySummary>,
    /// While it was closed.
    pub while_closed: Option<LatencySummary>,
}

impl DemoFigures {
    /// Every promise that was broken, a sentence each.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let Self { gate, backlog, ordered, .. } = self;
        let over = if self.refused_by_stalls() { 0 } else { gate.refused_over_the_limit };
        let none = [
            (over, "calls to px were refused for being over the limit"),
            (backlog.refused, "calls to acton were refused for being over a limit"),
            (ordered.refused, "calls to apsis were refused for being over a limit"),
            (backlog.changed, "events of acton arrived otherwise than they were published"),
            (ordered.invalid, "calls to apsis were spent on events of a wrong type"),
            (ordered.out_of_order, "events of apsis arrived after a later one of their profile"),
            (ordered.misaddressed, "events of apsis arrived for another profile"),
        ];
        let none = none.into_iter().filter(|(count, _)| *count > 0);
        let mut broken: Vec<String> = none.map(|(count, said)| format!("{count} {said}")).collect();
        let mut unless = |kept: bool, said: String| broken.extend((!kept).then_some(said));
        let BacklogFigures { sign_ins, revoked, .. } = backlog;
        unless(*sign_ins <= SIGN_INS_AN_HOUR, format!("{sign_ins} sign-ins to acton; {SIGN_INS_AN_HOUR} are allowed"));
        unless(*revoked > 0 && *sign_ins > 1, "the revoked token of acton was not replaced".to_owned());
        unless(backlog.csvs > 0 && backlog.facts > 0, "acton was not sent both facts and CSVs".to_owned());
        let wrong = u64::try_from(PROFILES.len()).unwrap_or(u64::MAX);
        let named = ordered.field_named;
        unless(named == wrong, format!("{named} of {wrong} dead letters of a wrong type name the field"));
        broken
    }

    /// Whether calls to px were refused on a machine that was too slow for them to arrive as evenly as they were sent. The other
    /// limits hold on any machine: there a place is taken until its answer.
    #[must_use]
    pub fn refused_by_stalls(&self) -> bool {
        self.gate.refused_over_the_limit > 0 && self.worst_stall_seconds > JITTER.as_secs_f64()
    }
}

impl BacklogFigures {
    /// From the books on calls and on sign-ins.
    #[must_use]
    pub fn new(
        calls: Option<&EndpointStats>,
        sign_ins: Option<&EndpointStats>,
        took: Option<Duration>,
        seen: Anomalies,
    ) -> Self {
        let (Some(calls), Some(sign_ins)) = (calls, sign_ins) else { return Self::default() };
        let figure = |name| calls.figures.get(name).copied().unwrap_or(0);
        Self {
            calls: calls.received,
            facts: figure("facts"),
            csvs: figure("csvs"),
            job_questions: calls.reads,
            failed_jobs: figure("failed_jobs"),
            seconds: took.map(|took| (took.as_secs_f64() * 10.0).round() / 10.0),
            sign_ins: sign_ins.received,
            revoked: calls.unauthorized,
            refused: calls.refused + sign_ins.refused,
            changed: seen.changed,
        }
    }
}

impl OrderedFigures {
    /// From the books on calls.
    #[must_use]
    pub fn new(calls: Option<&EndpointStats>, seen: Anomalies) -> Self {
        let Some(calls) = calls else { return Self::default() };
        let figure = |name| calls.figures.get(name).copied().unwrap_or(0);
        Self {
            calls: calls.accepted,
            profiles: figure("profiles"),
            busiest_second: u64::try_from(calls.busiest_second).unwrap_or(u64::MAX),
            busiest_second_of_a_profile: figure("busiest_second_of_a_profile"),
            refused: calls.refused,
            invalid: calls.invalid,
            out_of_order: seen.out_of_order,
            misaddressed: seen.misaddressed,
            field_named: seen.field_named,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Figures of a demo in which all went well.
    pub fn good() -> DemoFigures {
        let gate = GateFigures {
            refused: 3,
            refused_over_the_limit: 0,
            retried: 7,
            limit_per_second: 200.0,
            quota_used_while_open: Some(0.994),
            quota_used_in_all: None,
        };
        let backlog = BacklogFigures {
            calls: 60,
            facts: 20,
            csvs: 10,
            job_questions: 29,
            failed_jobs: 1,
            seconds: Some(9.4),
            sign_ins: 2,
            revoked: 1,
            ..BacklogFigures::default()
        };
        let ordered = OrderedFigures {
            calls: 171,
            profiles: 8,
            busiest_second: 78,
            busiest_second_of_a_profile: 10,
            field_named: 8,
            ..OrderedFigures::default()
        };
        let while_closed = Some(LatencySummary { count: 99, p99_at_most_seconds: 0.05 });
        let bystander = BystanderFigures { calls: 350, while_open: None, while_closed };
        DemoFigures { worst_stall_seconds: 0.004, gate, backlog, ordered, bystander }
    }

    #[test]
    fn nothing_is_broken_where_all_went_well() {
        assert!(good().broken().is_empty());
    }

    #[test]
    fn a_refusal_by_px_on_a_machine_that_stalled_is_the_machines() {
        let mut figures = good();
        figures.gate.refused_over_the_limit = 1;
        figures.worst_stall_seconds = 0.2;
        assert!(figures.broken().is_empty());
        figures.backlog.refused = 1;
        assert_eq!(figures.broken(), ["1 calls to acton were refused for being over a limit"]);
    }

    type Spoil = fn(&mut DemoFigures);

    #[test]
    fn each_broken_promise_is_told() {
        let spoilt: [(Spoil, &str); 6] = [
            (|figures| figures.gate.refused_over_the_limit = 1, "1 calls to px were refused"),
            (|figures| figures.backlog.sign_ins = 6, "6 sign-ins to acton; 5 are allowed"),
            (|figures| figures.backlog.changed = 2, "2 events of acton arrived otherwise"),
            (|figures| figures.ordered.out_of_order = 3, "3 events of apsis arrived after a later one"),
            (|figures| figures.ordered.refused = 1, "1 calls to apsis were refused"),
            (|figures| figures.ordered.field_named = 7, "7 of 8 dead letters"),
        ];
        for (spoil, told) in spoilt {
            let mut figures = good();
            spoil(&mut figures);
            let broken = figures.broken();
            assert!(broken.len() == 1 && broken[0].starts_with(told), "{broken:?}");
        }
    }
}
