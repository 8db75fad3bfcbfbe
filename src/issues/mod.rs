//! Issues: what needs a person, over all destinations: groups of dead letters, gates that are closed for trouble, budgets that run out,
//! events that are late or that nobody subscribes to. Found when somebody looks; what operators say of them is kept in the audit.

mod causes;
mod changes;
mod find;
mod notify;
mod seen;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::audit::{self, IssueState, Mark, Marks, OperatorAct};
use crate::broker::Broker;
use crate::clock;
use crate::config::{Config, Notify};
use crate::control;
use crate::dead_letters::groups::Group;
use crate::destination::View;
use crate::fleet::Roster;
use crate::metrics::Metrics;
use crate::supervisor::Part;
use crate::watch::Watch;

use causes::{Causes, Look, Wanted};
use changes::{Known, Pending};
pub use find::Kind;
use find::conditions;
use notify::Notifier;
use seen::Seen;

/// How often it is looked at what is wrong.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a look waits for the audit.
const MARKS_WITHIN: Duration = Duration::from_secs(3);
/// An issue is ignored for so long at most: a slip must not hide it for good.
pub const LONGEST_IGNORED: Duration = Duration::from_hours(24 * 90);
/// Longest note, in characters.
pub const LONGEST_NOTE: usize = 500;

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Issue {
    /// Names it for good: the same trouble has the same id in every worker, and when it comes again.
    #[schema(example = "px-prod.dead_letters.4f1c9a7be2d05836")]
    pub id: String,
    /// What kind.
    pub kind: Kind,
    /// Whose; null where it is about none.
    #[schema(required)]
    pub destination: Option<String>,
    /// What is wrong, in a sentence.
    #[schema(example = "the API answered 400: unknown property key")]
    pub says: String,
    /// How many events it is about; null where that is not known.
    #[schema(required)]
    pub count: Option<u64>,
    /// When it began: of dead letters when the first died. Null where nobody saw it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub first_seen: Option<Timestamp>,
    /// When it was there last: of dead letters when the last died, else now.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// How many died, or were published, in each of the last 24 hours, the latest last; empty of others.
    pub by_hour: Vec<u32>,
    /// The group of dead letters, for their filter.
    #[schema(required)]
    pub group: Option<String>,
    /// Some of the types of its events.
    pub types: Vec<String>,
    /// How it is for operators.
    pub state: IssueState,
    /// Whether it was acknowledged and came again since.
    pub came_again: bool,
    /// What an operator said of it last; left out where nobody did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub mark: Option<Mark>,
}

/// All issues, as a worker sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct IssueList {
    /// Those that are open first, the worst first.
    pub issues: Vec<Issue>,
    /// What could not be looked at, a sentence each. The issues may lack something then.
    pub trouble: Vec<String>,
}

/// What an operator does with an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// How it is from now on; as before where only a note is left.
    pub state: Option<IssueState>,
    /// Until when it is ignored.
    pub until: Option<Timestamp>,
    /// For whoever looks next; the one before stays where none is given.
    pub note: Option<String>,
}

/// Finds issues, and keeps what is said of them.
#[derive(Debug)]
pub struct Issues {
    metrics: Metrics,
    broker: Broker,
    roster: Roster,
    watch: Arc<Watch>,
    marks: Marks,
    causes: Arc<Causes>,
    seen: Mutex<Seen>,
    settings: Mutex<Settings>,
    notifier: Notifier,
}

/// What the configuration in force says of issues.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An event that has waited for longer is late.
    pub late_after: Duration,
    /// The webhooks that are told.
    pub notify: Vec<Notify>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self { late_after: config.admin.late_after, notify: config.notify.clone() }
    }
}

impl Issues {
    /// Over what is at work; nothing is looked at yet.
    #[must_use]
    pub fn new(
        (broker, roster, watch): (Broker, Roster, Arc<Watch>),
        metrics: Metrics,
        marks: Marks,
        config: &Config,
    ) -> Arc<Self> {
        let causes = Causes::new(broker.clone(), config.broker.max_event_bytes);
        let notifier = Notifier::new(metrics.clone(), roster.peers().me().name.clone());
        let (seen, settings) = (Mutex::default(), Mutex::new(config.into()));
        Arc::new(Self { metrics, broker, roster, watch, marks, causes, seen, settings, notifier })
    }

    /// Takes note of a reload.
    pub fn reloaded(&self, config: &Config) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = config.into();
    }

    fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An event that has waited for longer is late.
    #[must_use]
    pub fn late_after(&self) -> Duration {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).late_after
    }

    /// What keeps in mind what is wrong and since when, until `ending`.
    pub fn part(self: &Arc<Self>, ending: CancellationToken) -> impl Part + use<> {
        let issues = Arc::clone(self);
        move || Arc::clone(&issues).run(ending.clone())
    }

    async fn run(self: Arc<Self>, ending: CancellationToken) -> Result<(), String> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut telling, mut connections) = ((Known::default(), Pending::default()), None);
        while ending.run_until_cancelled(ticks.tick()).await.is_some() {
            // Whoever was away for a moment may have missed a word.
            let opened = self.broker.status().borrow().opened();
            if connections.replace(opened).is_some_and(|before| before != opened) {
                self.marks.may_be_incomplete();
            }
            let views = self.roster.views(|_| true).await;
            self.observe(&views);
            self.show_unattended(&views).await;
            let settings = self.settings();
            if !settings.notify.is_empty() {
                self.tell(views, &settings, &mut telling).await;
            }
        }
        Ok(())
    }

    /// Every issue there is now.
    pub async fn list(&self) -> IssueList {
        let (views, unrouted) = (self.roster.views(|_| true).await, self.watch.unrouted());
        self.all(&views, |_| true, unrouted, Look::Asked).await.0
    }

    /// The issues of those destinations that are `meant`, and of unrouted events; and the destinations whose dead letters are not known.
    async fn all(
        &self,
        views: &[View],
        meant: impl Fn(&str) -> bool,
        unrouted: Option<u32>,
        look: Look,
    ) -> (IssueList, BTreeSet<String>) {
        let (mut found, mut trouble) = (self.observe(views), Vec::new());
        found.retain(|issue| issue.destination.as_deref().is_none_or(&meant));
        let wanted = views.iter().filter(|view| meant(&view.name)).filter_map(|view| self.wanted(view));
        let (wanted, marks) = (wanted.collect::<Vec<_>>(), self.marks.complete(&self.broker, MARKS_WITHIN));
        let mut unread: BTreeSet<String> = wanted.iter().map(|wanted| wanted.destination.clone()).collect();
        let is_known = |view: &&View| self.watch.depths_of(&view.name).dead.is_some();
        let unknown: Vec<String> = views.iter().filter(|view| !is_known(view)).map(|view| view.name.clone()).collect();
        let (causes, marks) = tokio::join!(self.causes.known(wanted, unrouted, look), marks);
        unread.retain(|name| !causes.groups.contains_key(name));
        unread.extend(unknown);
        if let Err(error) = marks {
            trouble.push(format!("what operators said of issues is not known: {error}"));
        }
        trouble.extend(causes.trouble);
        let wall = clock::wall();
        found.extend(
            causes.groups.iter().flat_map(|(destination, groups)| {
                groups.iter().map(move |group| letters_issue(destination, group, wall))
            }),
        );
        if let Some(count) = unrouted.filter(|count| *count > 0) {
            found.push(unrouted_issue(u64::from(count), &causes.unrouted, wall));
        }
        let mut issues: Vec<Issue> = found.into_iter().map(|issue| self.marked(issue, wall)).collect();
        issues.sort_by_key(|issue| (issue.state, issue.kind, std::cmp::Reverse(issue.last_seen), issue.id.clone()));
        (IssueList { issues, trouble }, unread)
    }

    /// Tells webhooks what became of the issues that this worker looks after: those of what it drives, and one worker's of no destination.
    async fn tell(&self, views: Vec<View>, settings: &Settings, (known, pending): &mut (Known, Pending)) {
        // Nothing is known to be over while the broker is away.
        if !self.broker.status().borrow().connected() {
            return;
        }
        let shows = self.roster.peers().shows(clock::now());
        let unrouted = self.watch.unrouted().filter(|_| shows.shared);
        let mut mine: BTreeSet<_> = shows.destinations.iter().cloned().map(Some).collect();
        if unrouted.is_some() {
            mine.insert(None);
        }
        let meant = |name: &str| shows.destinations.contains(name);
        let (list, unread) = self.all(&views, meant, unrouted, Look::Unasked).await;
        for change in known.changes(list.issues, mine, &unread, clock::wall()) {
            pending.add(change);
        }
        let (changes, more) = pending.due(clock::now());
        for notify in &settings.notify {
            self.notifier.tell(notify, &changes, more);
        }
    }

    /// Says something of an issue, in the audit and in every worker.
    ///
    /// # Errors
    /// Why the audit may not have it; then nothing is said.
    pub async fn say(
        &self,
        issue: &Issue,
        word: Word,
        by: (&str, &str),
    ) -> Result<Mark, crate::broker::port::PublishError> {
        let entry = entry(issue, word, by);
        control::record(&self.broker, &entry).await?;
        let mark = entry.mark.ok_or(crate::broker::port::PublishError::Lost)?;
        self.marks.heard(&mark);
        Ok(mark)
    }

    /// Shows how many dead letters nobody looks after. Their causes are read only where somebody said something of one.
    async fn show_unattended(&self, views: &[View]) {
        let dead = |view: &View| self.watch.depths_of(&view.name).dead;
        let driven: Vec<&View> = views.iter().filter(|view| view.drives).collect();
        let with_letters = driven.iter().filter(|view| dead(view).is_some_and(|dead| dead > 0));
        if with_letters.clone().next().is_some()
            && let Err(error) = self.marks.complete(&self.broker, MARKS_WITHIN).await
        {
            tracing::debug!(%error, "what operators said of issues is not known yet");
        }
        let is_marked = |view: &&&View| self.marks.any_of(&format!("{}.{}.", view.name, Kind::DeadLetters.name()));
        let wanted: Vec<Wanted> = with_letters.filter(is_marked).filter_map(|view| self.wanted(view)).collect();
        let causes = if wanted.is_empty() {
            causes::Known::default()
        } else {
            self.causes.known(wanted, None, Look::Unasked).await
        };
        let (wall, gauge) = (clock::wall(), &self.metrics.dead_letters_unattended);
        for view in driven {
            let Some(ready) = dead(view) else {
                drop(gauge.remove_label_values(&[&view.name]));
                continue;
            };
            let attended = causes.groups.get(&view.name).map_or(0, |groups| self.attended(&view.name, groups, wall));
            let count = u64::from(ready).saturating_sub(attended);
            gauge.with_label_values(&[&view.name]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// How many of those letters somebody looks after, or does not want to see.
    fn attended(&self, destination: &str, groups: &[Group], wall: Timestamp) -> u64 {
        let issues = groups.iter().map(|group| self.marked(letters_issue(destination, group, wall), wall));
        issues.filter(|issue| issue.state != IssueState::Open).filter_map(|issue| issue.count).sum()
    }

    /// What has to be known of a destination with dead letters.
    fn wanted(&self, view: &View) -> Option<Wanted> {
        let dead = self.watch.depths_of(&view.name).dead.filter(|dead| *dead > 0)?;
        Some(Wanted { destination: view.name.clone(), count: dead, died: view.dead.values().sum() })
    }

    /// What is wrong now, of all but dead letters and unrouted events.
    fn observe(&self, views: &[View]) -> Vec<Issue> {
        let (now, wall) = (clock::now(), clock::wall());
        let late_after = self.late_after();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut issues = Vec::new();
        seen.begin();
        for view in views {
            for condition in conditions(view, &self.watch.depths_of(&view.name), late_after, wall) {
                let issue = Issue::new(condition.kind, Some(&view.name), "", condition.says);
                let Some(first) = seen.again(&issue.id, condition.kind.settles_within(view), now, wall) else {
                    continue;
                };
                issues.push(Issue {
                    count: condition.count,
                    first_seen: condition.since.or(first),
                    last_seen: Some(wall),
                    ..issue
                });
            }
        }
        // Of a destination whose driver or whose queue is not known, nothing is known to be over.
        let is_unknown = |view: &View| view.state.is_none() || self.watch.depths_of(&view.name).ready.is_none();
        let unknown = |id: &str| views.iter().any(|view| is_of(id, &view.name) && is_unknown(view));
        seen.end(wall, unknown);
        issues
    }

    /// The issue with what was said of it.
    fn marked(&self, mut issue: Issue, wall: Timestamp) -> Issue {
        let Some(mark) = self.marks.of(&issue.id) else { return issue };
        let came_again = match issue.kind {
            Kind::DeadLetters => issue.last_seen.is_some_and(|last| last > mark.since),
            // Their own times may be any.
            Kind::Unrouted => issue.count > mark.count,
            Kind::Parked
            | Kind::NotAtWork
            | Kind::Broken
            | Kind::Late
            | Kind::CopiesNotTaken
            | Kind::DayBudget
            | Kind::Slowed
            | Kind::PausedLong => {
                let over = self.seen.lock().unwrap_or_else(PoisonError::into_inner).was_over(&issue.id);
                over.max(issue.first_seen).is_some_and(|latest| latest > mark.since)
            }
        };
        (issue.state, issue.came_again) = state(&mark, came_again, wall);
        issue.mark = Some(mark);
        issue
    }
}

impl Issue {
    /// Nothing more is known of it.
    fn new(kind: Kind, destination: Option<&str>, group: &str, says: String) -> Self {
        let parts = [destination.unwrap_or_default(), kind.name(), group];
        let id = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        Self {
            id,
            kind,
            destination: destination.map(str::to_owned),
            says,
            count: None,
            first_seen: None,
            last_seen: None,
            by_hour: Vec::new(),
            group: None,
            types: Vec::new(),
            state: IssueState::Open,
            came_again: false,
            mark: None,
        }
    }
}

fn letters_issue(destination: &str, group: &Group, wall: Timestamp) -> Issue {
    Issue {
        count: Some(group.count),
        first_seen: group.first_seen,
        last_seen: group.last_seen,
        by_hour: group.by_hour(wall),
        group: Some(group.group.clone()),
        types: group.types.clone(),
        ..Issue::new(Kind::DeadLetters, Some(destination), &group.group, group.cause.clone())
    }
}

fn unrouted_issue(count: u64, groups: &[crate::unrouted::UnroutedGroup], wall: Timestamp) -> Issue {
    let keys: Vec<String> = groups.iter().map(|group| group.routing_key.clone()).collect();
    let mut by_hour: Vec<u32> = Vec::new();
    for group in groups {
        let hours = group.by_hour(wall);
        by_hour.resize(hours.len(), 0);
        by_hour.iter_mut().zip(hours).for_each(|(sum, count)| *sum = sum.saturating_add(count));
    }
    Issue {
        count: Some(count),
        first_seen: groups.iter().filter_map(|group| group.first_seen).min(),
        last_seen: groups.iter().filter_map(|group| group.last_seen).max(),
        by_hour,
        types: keys.into_iter().take(5).collect(),
        ..Issue::new(Kind::Unrouted, None, "", "no destination subscribes to events that producers publish".to_owned())
    }
}

/// Whether an issue is one of a destination.
fn is_of(id: &str, destination: &str) -> bool {
    id.strip_prefix(destination).is_some_and(|rest| rest.starts_with('.'))
}

/// How an issue is after that mark, and whether it came again since.
fn state(mark: &Mark, came_again: bool, wall: Timestamp) -> (IssueState, bool) {
    let is_over = mark.until.is_some_and(|until| until <= wall);
    match mark.state {
        IssueState::Acknowledged if came_again => (IssueState::Open, true),
        IssueState::Ignored if is_over => (IssueState::Open, came_again),
        IssueState::Open | IssueState::Acknowledged | IssueState::Ignored => (mark.state, false),
    }
}

/// The entry of the audit that says so of an issue.
#[must_use]
pub fn entry(issue: &Issue, word: Word, by: (&str, &str)) -> audit::Entry {
    let wall = clock::wall();
    let note = word.note.map(|note| note.split_whitespace().collect::<Vec<_>>().join(" "));
    let note = note.map(|note| note.chars().take(LONGEST_NOTE).collect::<String>()).filter(|note| !note.is_empty());
    let before = issue.mark.as_ref();
    let mark = Mark {
        // Of two words of one worker the later one holds, whatever its clock does.
        at: before.map_or(wall, |before| wall.max(before.at)),
        by: by.0.to_owned(),
        issue: issue.id.clone(),
        state: word.state.unwrap_or(issue.state),
        since: match (word.state, before) {
            (None, Some(before)) => before.since,
            // As whoever says it saw it: what died since is news, whatever the clocks say.
            _ if issue.kind == Kind::DeadLetters => issue.last_seen.unwrap_or(wall),
            _ => wall,
        },
        until: if word.state.is_some() { word.until } else { before.and_then(|before| before.until) },
        note: note.clone().or_else(|| before.and_then(|before| before.note.clone())),
        count: issue.count,
    };
    let act = match word.state {
        Some(IssueState::Acknowledged) => OperatorAct::Acknowledge,
        Some(IssueState::Ignored) => OperatorAct::Ignore,
        Some(IssueState::Open) => OperatorAct::Reopen,
        None => OperatorAct::Note,
    };
    let until = word.until.map(|until| format!(" until {}", until.strftime("%F %T UTC")));
    let given = format!("{}{}", issue.id, until.unwrap_or_default());
    let outcome = note.unwrap_or_else(|| mark.state.name().to_owned());
    let destination = issue.destination.clone().unwrap_or_default();
    audit::Entry { mark: Some(mark), ..audit::Entry::done(by, &destination, act, given, &outcome) }
}
