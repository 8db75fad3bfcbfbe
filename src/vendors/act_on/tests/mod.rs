use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::config;
use crate::event::Event;
use crate::vendors::{Batching, Calls, Facts, Item, Job, Reply, Vendor, When, secrets_of};
use crate::verdict::Verdict;

mod csv;

const CLIENT: &str = "client_id = \"c\"\nclient_secret = \"client-secret\"";
const USER: &str = "username = \"u@example.com\"\npassword = \"pass-word\"";
const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// A vendor of which only these lines are set.
fn bare(lines: &str) -> Result<Arc<dyn Vendor>, String> {
    let text = format!(
        "[broker]\nurl = \"amqp://localhost\"\n[destinations.acton]\nvendor = \"act-on\"\nsubscribe = [\"#\"]\n{lines}\n"
    );
    let config = config::parse("test.toml", &text, &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = config.map_err(|problems| problems.to_string())?;
    Ok(config.destinations.remove("acton").unwrap().vendor)
}

/// A vendor with credentials and these lines.
fn configured(lines: &str) -> Arc<dyn Vendor> {
    bare(&format!("{CLIENT}\n{USER}\n{lines}")).unwrap()
}

fn event(id: &str, data: &Value) -> Event {
    Event {
        id: id.to_owned(),
        source: "shop".to_owned(),
        kind: "k".to_owned(),
        time: NOW.into(),
        data: data.as_object().cloned().unwrap().into(),
        trace: None,
        expires: None,
        not_before: None,
        id_derived: false,
        original: None,
    }
}

fn data(title: &str) -> Value {
    json!({"destination": "Webinars", "customeventaction": "CUSTOM_ATTENDED", "email": "a@example.com", "title": title})
}

fn item(vendor: &dyn Vendor, id: &str, data: &Value) -> Item {
    vendor.prepare(&event(id, data), &Facts::default()).unwrap()
}

fn text(request: &Request<Bytes>) -> String {
    String::from_utf8(request.body().to_vec()).unwrap()
}

fn reply(status: u16, body: impl ToString) -> Reply {
    let body = Bytes::from(body.to_string());
    Reply { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body }
}

#[test]
fn each_region_and_base_url_leads_to_the_documented_paths() {
    for (lines, base) in [
        ("", "https://api.actonsoftware.com"),
        ("region = \"us\"", "https://api.actonsoftware.com"),
        ("region = \"eu\"", "https://api-eu.actonsoftware.com"),
        ("base_url = \"http://localhost:9500\"", "http://localhost:9500"),
        ("base_url = \"http://localhost:9500/\"", "http://localhost:9500"),
        ("base_url = \"http://localhost:9500/api/1/\"", "http://localhost:9500"),
        ("base_url = \"https://proxy.example.com/act-on\"", "https://proxy.example.com/act-on"),
    ] {
        let vendor = configured(lines);
        let item = item(vendor.as_ref(), "1", &data("t"));
        let uri = |request: Request<Bytes>| request.uri().to_string();
        assert_eq!(uri(vendor.request(&[&item]).unwrap()), format!("{base}/api/1/customevents/fact"), "{lines}");
        assert_eq!(uri(vendor.request(&[&item, &item]).unwrap()), format!("{base}/api/1/customevents"), "{lines}");
        assert_eq!(uri(vendor.job_status("1-x").unwrap()), format!("{base}/api/1/customevents/1-x/status"), "{lines}");
        assert_eq!(uri(vendor.grant().unwrap().request(None).unwrap()), format!("{base}/token"), "{lines}");
    }
}

#[test]
fn a_job_cannot_change_the_path_of_the_question_about_it() {
    let vendor = configured("");
    let uri = vendor.job_status("a/b?c=%20é ").unwrap().uri().to_string();
    assert_eq!(uri, "https://api.actonsoftware.com/api/1/customevents/a%2Fb%3Fc%3D%2520%C3%A9%20/status");
}

#[test]
fn what_is_wrong_with_the_settings_is_told_with_the_mend() {
    for (lines, says) in [
        (USER, "client_id: missing"),
        ("client_id = \"c\"\nusername = \"u\"\npassword = \"p\"", "client_secret: missing"),
        (CLIENT, "set username and password, or a refresh_token"),
        (&format!("{CLIENT}\nusername = \"u\""), "password: missing"),
        (&format!("{CLIENT}\npassword = \"p\""), "username: missing"),
        (&format!("{CLIENT}\nusername = \"\"\npassword = \"p\""), "username: is empty"),
        (&format!("{CLIENT}\n{USER}\nregion = \"apac\""), "\"us\", \"eu\""),
        (&format!("{CLIENT}\n{USER}\nmode = \"bulk\""), "\"auto\", \"fact\", \"csv\""),
        (&format!("{CLIENT}\n{USER}\nseparator = \",\""), "\"TAB\", \"COMMA\", \"SEMICOLON\", \"SPACE\""),
        (&format!("{CLIENT}\n{USER}\nquote = \"'\""), "\"NONE\", \"SINGLE_QUOTE\", \"DOUBLE_QUOTE\""),
        (&format!("{CLIENT}\n{USER}\nfirstrow = \"Y\""), "true or false"),
        (&format!("{CLIENT}\n{USER}\nbatch_max = 0"), "1 to 100000"),
        (&format!("{CLIENT}\n{USER}\nconfirm = \"yes\""), "\"applied\", \"accepted\""),
        (&format!("{CLIENT}\n{USER}\ndateformat = \"YYYY\""), "\"EEEE, dd MMMM yyyy\""),
        (&format!("{CLIENT}\n{USER}\ncustomeventaction = \"CUSTOM\""), "\"CUSTOM_GENERAL5\""),
        (&format!("{CLIENT}\n{USER}\ntime_zone = \"Europe/Malmo\""), "\"Europe/Stockholm\""),
    ] {
        let shown = bare(lines).unwrap_err();
        assert!(shown.contains(says), "{lines}: {shown}");
    }
    assert!(bare(&format!("{CLIENT}\nrefresh_token = \"r\"")).is_ok());
}

#[test]
fn the_mode_says_in_which_form_events_travel() {
    let of = |lines: &str| {
        let vendor = configured(lines);
        let item = item(vendor.as_ref(), "1", &data("t"));
        let alone = vendor.request(&[&item]).unwrap().uri().path().ends_with("/fact");
        (vendor.batching(), alone)
    };
    let together = |items, when| Batching { items, bytes: 16 << 20, when };
    assert_eq!(of(""), (together(10_000, When::Scarce), true));
    assert_eq!(of("mode = \"auto\"\nbatch_max = 7"), (together(7, When::Scarce), true));
    assert_eq!(of("mode = \"csv\""), (together(10_000, When::Always), false));
    assert_eq!(of("mode = \"fact\""), (Batching::ALONE, true));
}

#[test]
fn only_events_of_one_name_action_and_date_format_travel_together() {
    let vendor = configured("");
    let group = |changes: Value| {
        let mut data = data("t");
        data.as_object_mut().unwrap().extend(changes.as_object().cloned().unwrap());
        item(vendor.as_ref(), "1", &data).group
    };
    let first = group(json!({}));
    let alike =
        json!({"title": "u", "email": "b@example.com", "note": "n", "when": "01/25/2023", "createlistingentry": "Y"});
    assert_eq!(group(alike), first);
    assert_eq!(group(json!({"dateformat": "MM/dd/yyyy"})), first);
    for other in [
        json!({"destination": "webinars"}),
        json!({"destination": "Webinars "}),
        json!({"customeventaction": "CUSTOM_GENERAL"}),
        json!({"dateformat": "yyyy-MM-dd"}),
    ] {
        assert_ne!(group(other.clone()), first, "{other}");
    }
}

#[test]
fn the_day_of_an_event_is_that_of_the_time_zone() {
    for (zone, day) in [("UTC", "14 Nov 2023"), ("Asia/Tokyo", "15 Nov 2023"), ("America/New_York", "14 Nov 2023")] {
        let vendor = configured(&format!("time_zone = \"{zone}\"\ndateformat = \"dd MMM yyyy\""));
        let item = item(vendor.as_ref(), "1", &data("t"));
        assert!(text(&vendor.request(&[&item]).unwrap()).contains(day), "{zone}");
    }
}

#[test]
fn every_day_of_some_years_is_written_as_it_is_checked() {
    use super::dates::DateFormat;
    for (name, format) in DateFormat::all() {
        let mut day = jiff::civil::date(2023, 12, 25);
        while day.year() < 2026 {
            let written = format.write(day).unwrap();
            assert_eq!(format.check(&written), Ok(()), "{name}: {written}");
            day = day.tomorrow().unwrap();
        }
        assert_eq!(format.write(jiff::civil::date(-1, 1, 1)), None, "{name}");
    }
}

#[test]
fn a_wrong_day_is_told_how_it_is_written() {
    let vendor = configured("");
    let said = |format: &str, when: &str| {
        let mut data = data("t");
        data["when"] = json!(when);
        data["dateformat"] = json!(format);
        vendor.prepare(&event("1", &data), &Facts::default()).unwrap_err().to_string()
    };
    assert_eq!(
        said("MM/dd/yyyy", "1/25/2023"),
        "\"when\" is \"1/25/2023\", no day as the date format \"MM/dd/yyyy\" writes it; that day is written \"01/25/2023\""
    );
    assert_eq!(
        said("MM/dd/yyyy", "25/01/2023"),
        "\"when\" is \"25/01/2023\", no day as the date format \"MM/dd/yyyy\" writes it; a day is written as \"01/25/2023\""
    );
}

#[test]
fn jobs_are_watched_as_confirm_says() {
    let accepted = reply(200, json!({"status": "success", "jobId": "17"}));
    for (lines, of_one, of_two) in [
        ("", false, true),
        ("mode = \"csv\"", true, true),
        ("confirm = \"applied\"", true, true),
        ("confirm = \"accepted\"", false, false),
        ("mode = \"csv\"\nconfirm = \"accepted\"", false, false),
    ] {
        let vendor = configured(lines);
        let item = item(vendor.as_ref(), "1", &data("t"));
        let watched = |items: &[&Item]| vendor.job(&accepted, items) == Some("17".to_owned());
        assert_eq!((watched(&[&item]), watched(&[&item, &item])), (of_one, of_two), "{lines}");
    }
    assert_eq!(configured("confirm = \"applied\"").job(&reply(200, "{}"), &[]), None);
}

#[test]
fn each_state_of_a_job_is_read() {
    let vendor = configured("");
    let done = |applied, rejected, sentence: &str| Job::Done { applied, rejected, sentence: sentence.to_owned() };
    let details = r#"{"status":"ok","customEventsId":"ff4f3fab","appendCount":2,"rejectedCount":0}"#;
    let documented = json!({"status": "success", "jobDetails": details,
        "details": serde_json::from_str::<Value>(details).unwrap()});
    let two = || done(2, 0, "job 17: 2 rows applied, 0 rejected");
    let no_job = json!({"errorCode": 10017, "message": "Invalid or expired Job Id"});
    let expired = "job 17: Act-On answered 400: Invalid or expired Job Id, errorCode 10017";
    for (status, body, job) in [
        (200, documented, two()),
        (200, json!({"status": "success", "jobDetails": details}), two()),
        (
            200,
            json!({"status": "success", "details": {"status": "ok", "appendCount": "9", "rejectedCount": "3"}}),
            done(9, 3, "job 17: 9 rows applied, 3 rejected"),
        ),
        (
            200,
            json!({"status": "success", "details": {"status": "ok", "rejectedCount": 0}}),
            Job::Unknown("job 17 is done, and Act-On does not say how many rows it applied".to_owned()),
        ),
        (200, json!({"status": "The job is running"}), Job::Running),
        (200, json!({"status": "The job is pending"}), Job::Running),
        (200, json!({"status": "success", "details": {"status": "running"}}), Job::Running),
        (400, no_job.clone(), Job::Unknown(expired.to_owned())),
        (404, json!({}), Job::Unknown("job 17: Act-On answered 404: {}".to_owned())),
        (
            400,
            json!({"errorCode": 10003, "message": "Input file missing"}),
            Job::Failed("job 17: Act-On answered 400: Input file missing, errorCode 10003".to_owned()),
        ),
        (
            200,
            json!({"status": "success", "details": {"status": "error", "message": "bad file"}}),
            Job::Failed(
                r#"job 17 failed: {"details":{"message":"bad file","status":"error"},"status":"success"}"#.to_owned(),
            ),
        ),
        (
            200,
            json!({"status": "success", "details": {"status": "error", "appendCount": 5, "rejectedCount": 0}}),
            done(5, 1, "job 17 failed on its way: 5 rows applied, 0 rejected"),
        ),
    ] {
        let reply = reply(status, &body);
        let verdict = vendor.judge(&reply);
        assert!(matches!(verdict, Verdict::Delivered | Verdict::Rejected(_)), "{body}: {verdict:?}");
        assert_eq!(vendor.judge_job("17", &reply), job, "{body}");
    }
}

#[test]
fn a_trouble_names_the_request_to_the_vendors_support() {
    let vendor = configured("");
    let mut reply = reply(503, json!({"httpCode": "503", "httpMessage": "Down", "moreInformation": ""}));
    reply.headers.insert("x-request-id", "r-1".parse().unwrap());
    reply.headers.insert("x-global-transaction-id", "g-2".parse().unwrap());
    let said = "Act-On answered 503: Down (x-request-id r-1, x-global-transaction-id g-2)";
    assert_eq!(vendor.judge(&reply), Verdict::Unavailable(said.to_owned()));
}

#[test]
fn a_grant_keeps_to_five_calls_an_hour_and_begins_with_what_is_configured() {
    let vendor = configured("refresh_token = \"first\"\ntoken_file = \"/tmp/t\"");
    let grant = vendor.grant().unwrap();
    assert_eq!(grant.calls(), Calls { count: 5, window: Duration::from_hours(1) });
    assert_eq!(grant.first_refresh().unwrap().expose_secret(), "first");
    assert_eq!(grant.token_file().unwrap().to_str(), Some("/tmp/t"));
    let documented = json!({"access_token": "a", "refresh_token": "r", "token_type": "Bearer", "expires_in": 3600});
    let token = grant.read(&reply(200, &documented), NOW).unwrap();
    assert_eq!((token.access.expose_secret(), token.refresh.unwrap().expose_secret()), ("a", "r"));
    assert_eq!(token.expires.as_second() - NOW.as_second(), 3600);
}

#[test]
fn a_refused_grant_says_what_to_check() {
    let by_password = configured("");
    let by_refresh = bare(&format!("{CLIENT}\nrefresh_token = \"refresh-1\"")).unwrap();
    for (vendor, status, body, words) in [
        (
            &by_password,
            401,
            json!({"error": "access_denied", "error_description": "Unauthorized"}),
            ["access_denied", "client_secret"],
        ),
        (
            &by_password,
            403,
            json!({"error": "invalid_grant", "error_description": "Wrong email or password."}),
            ["Wrong email or password.", "username and password"],
        ),
        (
            &by_refresh,
            403,
            json!({"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}),
            ["Unknown or invalid refresh token.", "set a new refresh_token"],
        ),
        (
            &by_password,
            403,
            json!({"httpCode": "403", "httpMessage": "PUBLIC_API_FEATURE_NOT_ENABLED"}),
            ["PUBLIC_API_FEATURE_NOT_ENABLED", "check"],
        ),
    ] {
        let refused = vendor.grant().unwrap().read(&reply(status, &body), NOW).unwrap_err();
        let Verdict::Unauthorized(said) = &refused else { panic!("{body}: {refused:?}") };
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    let read = |status| by_password.grant().unwrap().read(&reply(status, "{}"), NOW).unwrap_err();
    assert_eq!(read(429).name(), "throttled");
    assert_eq!(read(503).name(), "unavailable");
}

#[test]
fn a_token_can_be_had_by_the_refresh_token_alone_once_there_is_one() {
    let vendor = bare(&format!("{CLIENT}\nrefresh_token = \"refresh-1\"")).unwrap();
    let grant = vendor.grant().unwrap();
    assert!(grant.request(None).is_none());
    let request = grant.request(Some(&SecretString::from("refresh-2"))).unwrap();
    assert!(text(&request).contains("grant_type=refresh_token&refresh_token=refresh-2&"));
    assert_eq!(secrets_of(&request), ["refresh-2", "client-secret"]);
}
