//! For any schedule of answers, refusals, restarts and resumes: no window holds a call too many, and good answers bring a token.

use proptest::prelude::*;

use super::*;

/// One step of a schedule: time passes, then something happens.
#[derive(Clone, Debug)]
enum Step {
    /// A request goes out if it can; a call for a token is answered so, after so long.
    Work(Reaction, Duration),
    /// The worker dies while a call for a token is on its way, or with none.
    Die,
    /// An operator resumes.
    Resume,
}

#[derive(Clone, Copy, Debug)]
enum Reaction {
    Token(u64),
    Refused,
    Throttled(Option<u64>),
    Trouble,
    /// A token, and then the vendor refuses what is sent with it.
    UselessToken,
}

impl Reaction {
    fn answer(self) -> Result<Reply, Trouble> {
        match self {
            Self::Token(life) => token("some", life),
            Self::UselessToken => token("useless", HOUR),
            Self::Refused => wrong_password(),
            Self::Throttled(Some(wait)) => asking_to_wait(429, wait),
            Self::Throttled(None) => reply(429, ""),
            Self::Trouble => no_answer(),
        }
    }
}

fn reaction() -> impl Strategy<Value = Reaction> {
    prop_oneof![
        (0_u64..2 * HOUR).prop_map(Reaction::Token),
        Just(Reaction::Refused),
        proptest::option::of(0_u64..300).prop_map(Reaction::Throttled),
        Just(Reaction::Trouble),
        Just(Reaction::UselessToken),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (reaction(), 0_u64..30_000).prop_map(|(reaction, ms)| Step::Work(reaction, Duration::from_millis(ms))),
        1 => Just(Step::Die),
        2 => Just(Step::Resume),
    ]
}

/// What the vendor counted, and when.
struct Counted(Vec<Instant>);

impl Counted {
    #[track_caller]
    fn check(&self, calls: Calls) {
        for window in self.0.windows(calls.count + 1) {
            let span = window[calls.count].duration_since(window[0]);
            assert!(span >= calls.window, "{} calls within {span:?}", calls.count + 1);
        }
    }
}

impl Bench {
    /// One turn of a driver. The vendor counts a call half-way between sending and answer.
    fn turn(&mut self, reaction: Reaction, answer_after: Duration, counted: &mut Counted) {
        let wanted = matches!(self.need(), Need::Fetch) || self.tokens.due(self.now, self.wall);
        if wanted && self.request().is_some() {
            counted.0.push(self.now + answer_after / 2);
            self.advance(answer_after);
            self.answered(&reaction.answer());
        }
        if let Need::Ready(bearer) = self.need() {
            if bearer.header == "Bearer useless" {
                self.tokens.refused(bearer.generation, self.now);
            } else {
                self.tokens.accepted(bearer.generation);
            }
        }
    }

    fn die(&mut self, counted: &mut Counted) {
        if matches!(self.need(), Need::Fetch) && self.request().is_some() {
            counted.0.push(self.now + Duration::from_millis(900));
        }
        self.restart();
    }
}

proptest! {
    #[test]
    fn no_window_holds_a_call_too_many_and_good_answers_bring_a_token_in_the_end(
        count in 2_usize..11,
        window in 30_u64..2 * HOUR,
        password in any::<bool>(),
        steps in proptest::collection::vec((0_u64..900_000, step()), 1..80),
    ) {
        let calls = Calls { count, window: Duration::from_secs(window) };
        let grant = if password { Example::with_password() } else { Example::with_refresh_only() };
        let mut bench = Bench::new(Example { calls, ..grant });
        let mut counted = Counted(Vec::new());
        for (pass, step) in steps {
            // Mostly short passes, so that calls crowd.
            bench.advance(Duration::from_millis(if pass % 3 == 0 { pass } else { pass % 5_000 }));
            match step {
                Step::Work(reaction, answer_after) => bench.turn(reaction, answer_after, &mut counted),
                Step::Die => bench.die(&mut counted),
                Step::Resume => bench.tokens.retry_now(),
            }
        }
        for _ in 0..50 {
            if matches!(bench.need(), Need::Ready(ref bearer) if bearer.header == "Bearer some") {
                break;
            }
            if let Need::NotBefore(until) = bench.need() {
                let wait = until.duration_since(bench.now);
                prop_assert!(wait <= calls.window + Duration::from_secs(301), "{wait:?}");
                bench.advance(wait);
            }
            if let Need::Ready(_) = bench.need() {
                bench.advance(calls.window / 4);
            }
            bench.turn(Reaction::Token(HOUR), Duration::from_millis(500), &mut counted);
        }
        prop_assert!(bench.bearer().header == "Bearer some", "{:?}", bench.need());
        counted.check(calls);
    }
}
