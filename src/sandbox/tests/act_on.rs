//! Act-On over HTTP.

use reqwest::multipart::{Form, Part};

use super::*;

const FACT: &str = "/api/1/customevents/fact";
const CSV: &str = "/api/1/customevents";
const CALLS: &str = "act-on";
const AUTH: &str = "act-on/auth";

/// Act-On with limits that no test runs into.
fn roomy() -> ActOnSettings {
    ActOnSettings { limits: daily(10_000), auth_limits: daily(10_000), ..ActOnSettings::default() }
}

async fn start_act_on(act_on: ActOnSettings) -> Caller {
    start(Settings { act_on, ..Settings::default() }).await
}

fn password() -> Vec<(&'static str, String)> {
    let mut form = vec![("grant_type", "password".to_owned())];
    form.extend(["client_id", "client_secret", "username", "password"].map(|name| (name, "sandbox".to_owned())));
    form
}

fn refresh(token: &str) -> Vec<(&'static str, String)> {
    let mut form = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", token.to_owned())];
    form.extend(["client_id", "client_secret"].map(|name| (name, "sandbox".to_owned())));
    form
}

fn fact() -> Vec<(&'static str, String)> {
    [
        ("destination", "TestCustomEvent"),
        ("dateformat", "MM/dd/yyyy"),
        ("createlistingentry", "N"),
        ("customeventaction", "CUSTOM_GENERAL1"),
        ("email", "tester@test.com"),
        ("when", "01/01/2023"),
        ("title", "title"),
        ("note", "note"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

fn csv() -> Vec<(&'static str, String)> {
    [
        ("destination", "TestCustomEvent"),
        ("fieldseparator", "COMMA"),
        ("quotecharacter", "DOUBLE_QUOTE"),
        ("firstrow", "Y"),
        ("customeventaction", "CUSTOM_GENERAL"),
        ("emailcolidx", "2"),
        ("datecolidx", "3"),
        ("titlecolidx", "4"),
        ("dateformat", "MM/dd/yyyy"),
        ("filename", "customEvent.csv"),
        ("notecolidx", "5"),
        ("titlecount", "2"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

const FILE: &str = "a,b,email,date,title,note\r\n1,2,x@y.se,01/25/2023,\"A, \"\"B\"\"\",\"n\n1\"\r\n,,nobody,01/25/2023,T,\r\n,,å@y.se,01/26/2023,T 🎉,\r\n";

fn with(fields: Vec<(&'static str, String)>, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut fields = without(fields, name);
    fields.push((name, value.to_owned()));
    fields
}

fn without(mut fields: Vec<(&'static str, String)>, name: &str) -> Vec<(&'static str, String)> {
    fields.retain(|(known, _)| *known != name);
    fields
}

impl Caller {
    async fn ask_token(&self, form: Vec<(&'static str, String)>) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let asked = self.request(Method::POST, "/token").header("content-type", "application/x-www-form-urlencoded");
        let answer = asked.body(body).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    }

    async fn token(&self) -> String {
        self.ask_token(password()).await.1["access_token"].as_str().unwrap().to_owned()
    }

    async fn post_form(
        &self,
        path: &str,
        token: &str,
        fields: Vec<(&'static str, String)>,
        file: &str,
    ) -> (u16, Value) {
        let mut form = fields.into_iter().fold(Form::new(), |form, (name, value)| form.text(name, value));
        if !file.is_empty() {
            form = form.part("file", Part::text(file.to_owned()).file_name("customEvent.csv"));
        }
        let answer = self.request(Method::POST, path).bearer_auth(token).multipart(form).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    }

    async fn job(&self, token: &str, id: &Value) -> (u16, Value) {
        let path = format!("{CSV}/{}/status", id.as_str().unwrap());
        let answer = self.request(Method::GET, &path).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    }
}

#[tokio::test]
async fn the_documented_fact_is_accepted_as_a_job_and_kept_as_an_event() {
    let caller = start_act_on(roomy()).await;
    let token = caller.token().await;
    let (status, answer) = caller.post_form(FACT, &token, fact(), "").await;
    assert_eq!((status, answer), (200, json!({ "jobId": "15937380", "status": "success" })));
    assert_eq!(
        caller.kept(CALLS),
        [json!({
            "destination": "TestCustomEvent", "customeventaction": "CUSTOM_GENERAL1", "email": "tester@test.com",
            "when": "01/01/2023", "dateformat": "MM/dd/yyyy", "title": "title", "note": "note", "came_by": "fact"
        })]
    );
}

#[tokio::test]
async fn the_documented_csv_becomes_an_event_a_row_and_rejects_what_is_no_address() {
    let caller = start_act_on(ActOnSettings { job_time: Duration::ZERO, ..roomy() }).await;
    let token = caller.token().await;
    let (status, answer) = caller.post_form(CSV, &token, csv(), FILE).await;
    assert_eq!(status, 200, "{answer}");
    let events = caller.kept(CALLS);
    let seen: Vec<_> = events.iter().map(|event| [&event["email"], &event["title"], &event["note"]]).collect();
    assert_eq!(
        seen,
        [[&json!("x@y.se"), &json!("A, \"B\""), &json!("n\n1")], [&json!("å@y.se"), &json!("T 🎉"), &json!("")]]
    );
    assert_eq!(events[0]["came_by"], "csv");

    let (status, job) = caller.job(&token, &answer["jobId"]).await;
    assert_eq!((status, &job["status"]), (200, &json!("success")));
    assert_eq!(
        (&job["details"]["status"], &job["details"]["appendCount"], &job["details"]["rejectedCount"]),
        (&json!("ok"), &json!(2), &json!(1))
    );
    let details: Value = serde_json::from_str(job["jobDetails"].as_str().unwrap()).unwrap();
    assert_eq!(details, job["details"]);
    let figures = caller.of(CALLS).figures;
    assert_eq!((figures["jobs"], figures["csv_events"], figures["rejected_rows"]), (1, 2, 1));
}

#[tokio::test]
async fn a_job_is_pending_then_running_then_done_and_an_unknown_one_has_a_code() {
    let hour = Duration::from_hours(1);
    for (job_time, said) in [(hour, "The job is pending"), (Duration::ZERO, "success")] {
        let caller = start_act_on(ActOnSettings { job_time, ..roomy() }).await;
        let token = caller.token().await;
        let (_, accepted) = caller.post_form(FACT, &token, fact(), "").await;
        assert_eq!(caller.job(&token, &accepted["jobId"]).await.1["status"], said);
        let (status, unknown) = caller.job(&token, &json!("1")).await;
        assert_eq!((status, &unknown["errorCode"]), (400, &json!(10017)));
    }
}

#[tokio::test]
async fn a_job_that_fails_applies_nothing() {
    let caller = start_act_on(ActOnSettings { job_time: Duration::ZERO, failing_jobs: 1, ..roomy() }).await;
    let token = caller.token().await;
    let (_, first) = caller.post_form(CSV, &token, csv(), FILE).await;
    let (_, failed) = caller.job(&token, &first["jobId"]).await;
    assert_eq!((&failed["status"], &failed["details"]["appendCount"]), (&json!("failed"), &json!(0)));
    assert!(caller.kept(CALLS).is_empty());
    caller.post_form(CSV, &token, csv(), FILE).await;
    assert_eq!((caller.kept(CALLS).len(), caller.of(CALLS).duplicates), (2, 0));
}

#[tokio::test]
async fn an_address_can_be_rejected_after_its_upload_was_accepted() {
    let reject_emails = vec!["tester@test.com".to_owned(), "x@y.se".to_owned()];
    let caller = start_act_on(ActOnSettings { reject_emails, job_time: Duration::ZERO, ..roomy() }).await;
    let token = caller.token().await;
    for (answer, counts) in [
        (caller.post_form(FACT, &token, fact(), "").await, [0, 1]),
        (caller.post_form(CSV, &token, csv(), FILE).await, [1, 2]),
    ] {
        assert_eq!(answer.0, 200);
        let details = caller.job(&token, &answer.1["jobId"]).await.1["details"].take();
        assert_eq!([&details["appendCount"], &details["rejectedCount"]], counts.map(|count| json!(count)).each_ref());
    }
    assert_eq!(caller.of(CALLS).events, 1);
}

#[tokio::test]
async fn each_broken_fact_is_refused_with_code_and_message() {
    let caller = start_act_on(roomy()).await;
    let token = caller.token().await;
    for name in ["destination", "customeventaction", "email", "when", "title", "dateformat"] {
        for fields in [without(fact(), name), with(fact(), name, "")] {
            let (status, answer) = caller.post_form(FACT, &token, fields, "").await;
            assert_eq!((status, &answer["errorCode"]), (422, &json!(10121)), "{name}");
            assert!(answer["message"].as_str().unwrap().contains(name));
        }
    }
    for (name, value) in [
        ("destination", "Unknown"),
        ("createlistingentry", "true"),
        ("customeventaction", "CUSTOM_GENERAL6"),
        ("email", "tester"),
        ("when", "1/1/2023"),
        ("dateformat", "MM/dd/yyyy HH:mm"),
        ("colour", "red"),
    ] {
        let (status, answer) = caller.post_form(FACT, &token, with(fact(), name, value), "").await;
        assert_eq!((status, answer["errorCode"].is_number()), (400, true), "{name}");
        assert!(answer["message"].as_str().unwrap().starts_with(name), "{answer}");
    }
    let mut twice = fact();
    twice.push(("title", "again".to_owned()));
    assert_eq!(caller.post_form(FACT, &token, twice, "").await.0, 400);
    assert_eq!(caller.post_form(FACT, &token, fact(), "x").await.0, 400, "a fact has no file");
    let json = caller.request(Method::POST, FACT).bearer_auth(&token).json(&json!({})).send().await.unwrap();
    assert_eq!(json.status(), 400);
    assert_eq!((caller.of(CALLS).events, caller.of(CALLS).invalid), (0, 22));
}

#[tokio::test]
async fn a_fact_creates_its_destination_only_when_told_to() {
    let caller = start_act_on(roomy()).await;
    let token = caller.token().await;
    let to = |create| with(with(fact(), "destination", "New"), "createlistingentry", create);
    let mut statuses = Vec::new();
    for create in ["N", "Y", "N"] {
        statuses.push(caller.post_form(FACT, &token, to(create), "").await.0);
    }
    assert_eq!(statuses, [400, 200, 200]);
}

#[tokio::test]
async fn each_broken_csv_is_refused_as_a_whole() {
    let caller = start_act_on(roomy()).await;
    let token = caller.token().await;
    for (name, value) in [
        ("firstrow", "yes"),
        ("fieldseparator", "PIPE"),
        ("quotecharacter", "'"),
        ("emailcolidx", "6"),
        ("emailcolidx", "+2"),
        ("datecolidx", "2"),
        ("titlecount", "1"),
        ("titlecount", "-1"),
        ("createlistingentry", "Y"),
        ("customeventaction", ""),
    ] {
        let (status, answer) = caller.post_form(CSV, &token, with(csv(), name, value), FILE).await;
        assert!([400, 422].contains(&status), "{name}={value}: {answer}");
    }
    for file in ["", "a,b,email,date,title,note\n", "1,2,3,4,5,6\n1,2,3,4,5\n", "1,2,3,4,5,6\n1,2,3,4,5,\"6\n"] {
        let (status, answer) = caller.post_form(CSV, &token, csv(), file).await;
        assert_eq!(status, 400, "{file:?}: {answer}");
    }
    assert_eq!(caller.of(CALLS).events, 0);
}

#[tokio::test]
async fn the_same_row_by_fact_and_by_csv_is_a_duplicate_unless_its_note_marks_it() {
    let caller = start_act_on(ActOnSettings { note_marker: Some("id:".into()), ..roomy() }).await;
    let token = caller.token().await;
    let file = "tester@test.com\t01/01/2023\ttitle\tnote";
    let mut fields = csv();
    for (name, value) in [
        ("fieldseparator", "TAB"),
        ("quotecharacter", "NONE"),
        ("firstrow", "N"),
        ("emailcolidx", "0"),
        ("datecolidx", "1"),
        ("titlecolidx", "2"),
        ("notecolidx", "3"),
        ("customeventaction", "CUSTOM_GENERAL1"),
    ] {
        fields = with(fields, name, value);
    }
    assert_eq!(caller.post_form(FACT, &token, fact(), "").await.0, 200);
    assert_eq!(caller.post_form(CSV, &token, fields, file).await.0, 200);
    assert_eq!((caller.of(CALLS).distinct, caller.of(CALLS).duplicates), (1, 1));
    for (note, title) in [("id:1", "a"), ("id:1", "b"), ("id:2", "b")] {
        caller.post_form(FACT, &token, with(with(fact(), "note", note), "title", title), "").await;
    }
    assert_eq!((caller.of(CALLS).distinct, caller.of(CALLS).duplicates), (3, 2));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_ends_with_the_next_grant() {
    let caller = start_act_on(roomy()).await;
    let (status, first) = caller.ask_token(password()).await;
    assert_eq!((status, &first["token_type"], &first["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    let first = first["refresh_token"].as_str().unwrap();
    let (status, second) = caller.ask_token(refresh(first)).await;
    assert_eq!(status, 200);
    let (status, again) = caller.ask_token(refresh(first)).await;
    assert_eq!((status, &again["error"]), (403, &json!("invalid_grant")));
    caller.ask_token(password()).await;
    assert_eq!(caller.ask_token(refresh(second["refresh_token"].as_str().unwrap())).await.0, 403);
    let figures = caller.of(AUTH).figures;
    assert_eq!((figures["password_grants"], figures["refresh_grants"]), (2, 1));
}

#[tokio::test]
async fn wrong_credentials_are_told_apart_and_the_sixth_token_call_of_an_hour_is_refused() {
    let caller = start_act_on(ActOnSettings { auth_limits: ActOnSettings::default().auth_limits, ..roomy() }).await;
    let mut seen = Vec::new();
    for form in [
        with(password(), "client_secret", "wrong"),
        with(password(), "password", "wrong"),
        with(password(), "grant_type", "client_credentials"),
        with(password(), "colour", "red"),
        password(),
        password(),
    ] {
        let (status, answer) = caller.ask_token(form).await;
        seen.push((status, answer["error"].as_str().unwrap_or_default().to_owned()));
    }
    let errors = ["access_denied", "invalid_grant", "unsupported_grant_type", "invalid_request", "", ""];
    assert_eq!(seen, [401, 403, 400, 400, 200, 429].into_iter().zip(errors.map(str::to_owned)).collect::<Vec<_>>());
    let stats = caller.of(AUTH);
    assert_eq!((stats.received, stats.accepted, stats.refused, stats.unauthorized), (6, 1, 1, 2));
}

#[tokio::test]
async fn a_call_without_a_token_that_holds_is_answered_by_the_gateway() {
    let caller = start_act_on(roomy()).await;
    let (_, granted) = caller.ask_token(password()).await;
    let token = granted["access_token"].as_str().unwrap();
    let (status, answer) = caller.post_form(FACT, "nonsense", fact(), "").await;
    assert_eq!(status, 401);
    assert_eq!(answer, json!({ "httpCode": "401", "httpMessage": "Unauthorized", "moreInformation": "" }));

    let revoke = |query: &'static str| caller.request(Method::POST, query).send();
    assert_eq!(revoke("/sandbox/revoke?vendor=act-on&tokens=access").await.unwrap().status(), 200);
    assert_eq!(caller.post_form(FACT, token, fact(), "").await.0, 401);
    let (status, granted) = caller.ask_token(refresh(granted["refresh_token"].as_str().unwrap())).await;
    assert_eq!(status, 200, "the refresh token holds");
    assert_eq!(revoke("/sandbox/revoke").await.unwrap().status(), 200);
    assert_eq!(caller.ask_token(refresh(granted["refresh_token"].as_str().unwrap())).await.0, 403);
    assert_eq!(revoke("/sandbox/revoke?vendor=nobody").await.unwrap().status(), 404);

    let caller = start_act_on(ActOnSettings { token_life: Duration::ZERO, ..roomy() }).await;
    let token = caller.token().await;
    assert_eq!(caller.post_form(FACT, &token, fact(), "").await.0, 401, "expired");
}

#[tokio::test]
async fn facts_files_and_job_status_share_one_limit_that_token_calls_do_not_count_towards() {
    let caller = start_act_on(ActOnSettings { limits: daily(3), ..roomy() }).await;
    let token = caller.token().await;
    let (_, accepted) = caller.post_form(FACT, &token, fact(), "").await;
    caller.post_form(CSV, &token, csv(), FILE).await;
    assert_eq!(caller.job(&token, &accepted["jobId"]).await.0, 200);
    let (status, refused) = caller.job(&token, &accepted["jobId"]).await;
    assert_eq!((status, &refused["httpCode"]), (429, &json!("429")));
    assert_eq!(caller.ask_token(password()).await.0, 200);
}

#[tokio::test]
async fn faults_befall_act_on_too() {
    let caller = start_act_on(roomy()).await;
    assert_eq!(caller.fault(json!({ "fault": "status", "status": 503, "path": "/token", "count": 1 })).await, 200);
    assert_eq!(caller.ask_token(password()).await.0, 503);
    let token = caller.token().await;
    caller.fault(json!({ "fault": "drop-after", "path": "/api/1", "count": 1 })).await;
    let form = fact().into_iter().fold(Form::new(), |form, (name, value)| form.text(name, value));
    let cut = caller.request(Method::POST, FACT).bearer_auth(&token).multipart(form).send().await;
    assert!(cut.is_err());
    assert_eq!((caller.of(CALLS).faulted, caller.of(CALLS).events), (1, 1));
    assert_eq!(caller.post_form("/api/1/list", &token, fact(), "").await.0, 404);
    assert_eq!(caller.request(Method::GET, FACT).send().await.unwrap().status(), 405);
}
