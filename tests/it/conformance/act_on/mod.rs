//! Act-On: the documented requests field by field, every date format, the nine actions, each shape of error.

use serde_json::{Value, json};

use super::{Answered, Body, Fixtures, Refused, Sent, answered};

mod sandbox;

const HEADERS: &[(&str, &str)] =
    &[("content-type", "multipart/form-data"), ("accept", "application/json"), ("cache-control", "no-cache")];
const FACT: &str = "https://api.actonsoftware.com/api/1/customevents/fact";
const CSV: &str = "https://api.actonsoftware.com/api/1/customevents";

/// Every documented format with a day as it writes it, and ways to write that day wrong.
const DATES: [(&str, &str, &[&str]); 15] = [
    (
        "MM/dd/yyyy",
        "01/25/2023",
        &["25/01/2023", "1/25/2023", "01/25/23", "01-25-2023", "02/30/2023", "01/25/2023 10:00"],
    ),
    ("dd/MM/yyyy", "25/01/2023", &["01/25/2023", "5/01/2023", "29/02/2023"]),
    ("MM/dd/yy", "01/25/23", &["01/25/2023", "1/25/23", "13/25/23"]),
    ("dd/MM/yy", "25/01/23", &["01/25/23", "25/1/23", "31/04/23"]),
    ("yyyy/MM/dd", "2023/01/25", &["2023/1/25", "23/01/25", "2023-01-25", "2023/01/25T00:00:00Z"]),
    ("MM-dd-yyyy", "01-25-2023", &["01/25/2023", "25-01-2023", "1-25-2023"]),
    ("dd-MM-yyyy", "25-01-2023", &["01-25-2023", "5-01-2023"]),
    ("MM-dd-yy", "01-25-23", &["01-25-2023", "1-25-23"]),
    ("dd-MM-yy", "25-01-23", &["01-25-23", "25-1-23"]),
    ("yyyy-MM-dd", "2023-01-25", &["2023-1-25", "2023-02-29", "+2023-01-25", " 2023-01-25", "2023-01-25T10:00:00Z"]),
    ("dd MMM yyyy", "25 Jan 2023", &["25 January 2023", "25 jan 2023", "25 Jänner 2023", "5 Jan 2023", "25  Jan 2023"]),
    ("MMM dd yyyy", "Jan 25 2023", &["25 Jan 2023", "January 25 2023", "Jan 5 2023"]),
    ("dd MMMM yyyy", "25 January 2023", &["25 Jan 2023", "25 Jaunuary 2023", "25 JANUARY 2023"]),
    ("EEE, dd MMM yyyy", "Wed, 25 Jan 2023", &["Tue, 25 Jan 2023", "Wednesday, 25 Jan 2023", "Wed 25 Jan 2023"]),
    ("EEEE, dd MMMM yyyy", "Wednesday, 25 January 2023", &["Tuesday, 25 January 2023", "Wed, 25 January 2023"]),
];

const ACTIONS: [&str; 9] = [
    "CUSTOM_DOWNLOADED",
    "CUSTOM_REGISTERED",
    "CUSTOM_ATTENDED",
    "CUSTOM_GENERAL",
    "CUSTOM_GENERAL1",
    "CUSTOM_GENERAL2",
    "CUSTOM_GENERAL3",
    "CUSTOM_GENERAL4",
    "CUSTOM_GENERAL5",
];

pub fn fixtures() -> Fixtures {
    Fixtures {
        vendor: "act-on",
        settings: "region = \"us\"\nclient_id = \"client-1\"\nclient_secret = \"client-secret-0123\"\n\
                   username = \"john.doe@act-on.com\"\npassword = \"pass word&0123\"\n\
                   refresh_token = \"refresh-0123456789\"\ntoken_file = \"/var/lib/sluice/act-on.json\"\n\
                   mode = \"auto\"\ndateformat = \"MM/dd/yyyy\"\nseparator = \"COMMA\"\nquote = \"NONE\"\nfirstrow = true\n\
                   batch_max = 100\nconfirm = \"applied\"\ncreatelistingentry = false\n\
                   custom_event = \"TestCustomEvent\"\ncustomeventaction = \"CUSTOM_GENERAL\"\ntime_zone = \"Asia/Tokyo\"",
        secrets: &["client-secret-0123", "pass word&0123", "refresh-0123456789"],
        lookups: Vec::new(),
        grants: grants(),
        requests: requests(),
        refused: refused(),
        answers: answers(),
    }
}

fn grants() -> Vec<(Option<&'static str>, Sent)> {
    let sent = |what, fields: &[(&str, &str)]| Sent {
        what,
        events: Vec::new(),
        method: "POST",
        url: "https://api.actonsoftware.com/token",
        headers: &[("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")],
        body: form(fields),
    };
    let password = [
        ("grant_type", "password"),
        ("username", "john.doe@act-on.com"),
        ("password", "pass word&0123"),
        ("client_id", "client-1"),
        ("client_secret", "client-secret-0123"),
    ];
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "refresh-0123456789"),
        ("client_id", "client-1"),
        ("client_secret", "client-secret-0123"),
    ];
    vec![
        (None, sent("the password grant", &password)),
        (Some("refresh-0123456789"), sent("the refresh-token grant", &refresh)),
    ]
}

fn form(fields: &[(&str, &str)]) -> Body {
    Body::Form(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// The event of the documented fact.
fn documented() -> Value {
    json!({
        "destination": "TestCustomEvent", "dateformat": "MM/dd/yyyy", "createlistingentry": "N",
        "customeventaction": "CUSTOM_GENERAL1", "email": "tester@test.com", "when": "01/01/2023", "title": "title",
        "note": "note",
    })
}

/// The documented one, with one field set.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut data = documented();
    data[field] = value.into();
    data
}

/// The documented fact, with some fields set or, by an empty text, left out.
fn fact(what: &'static str, event: Value, changes: &[(&str, &str)]) -> Sent {
    let fields: Vec<(&str, &str)> = [
        ("destination", "TestCustomEvent"),
        ("dateformat", "MM/dd/yyyy"),
        ("createlistingentry", "N"),
        ("customeventaction", "CUSTOM_GENERAL1"),
        ("email", "tester@test.com"),
        ("when", "01/01/2023"),
        ("title", "title"),
        ("note", "note"),
    ]
    .into_iter()
    .map(|(name, value)| (name, changes.iter().find(|(changed, _)| *changed == name).map_or(value, |(_, to)| *to)))
    .filter(|(_, value)| !value.is_empty())
    .collect();
    Sent { what, events: vec![event], method: "POST", url: FACT, headers: HEADERS, body: form(&fields) }
}

/// Several events in one CSV, in the documented form.
fn csv(what: &'static str, events: Vec<Value>, quote: &str, titles: &str, file: &str) -> Sent {
    let fields = [
        ("destination", "TestCustomEvent"),
        ("fieldseparator", "COMMA"),
        ("quotecharacter", quote),
        ("firstrow", "Y"),
        ("customeventaction", "CUSTOM_GENERAL"),
        ("emailcolidx", "2"),
        ("datecolidx", "3"),
        ("titlecolidx", "4"),
        ("dateformat", "MM/dd/yyyy"),
        ("filename", "customEvent.csv"),
        ("notecolidx", "5"),
        ("titlecount", titles),
        ("file;customEvent.csv", file),
    ];
    Sent { what, events, method: "POST", url: CSV, headers: HEADERS, body: form(&fields) }
}

fn requests() -> Vec<Sent> {
    let least = json!({"email": "tester@test.com", "title": "title"});
    let row =
        |title: &str, note: &str| json!({"email": "a@test.com", "title": title, "note": note, "when": "01/01/2023"});
    let hard = "\u{feff}=1+1 a,\"b\"\t;'c'\r\nd\re\nf 🎉 \u{200f}שלום\u{200f} ";
    let doubled = hard.replace('"', "\"\"");
    let mut requests = vec![
        fact("the documented fact, field by field", documented(), &[]),
        fact(
            "what the event leaves out has the destination's default; the date is the day of its time in the time zone",
            least.clone(),
            &[("customeventaction", "CUSTOM_GENERAL"), ("when", "11/15/2023"), ("note", "")],
        ),
        fact("nulls are left out", with("note", Value::Null), &[("note", "")]),
        fact("a destination that is to be made", with("createlistingentry", "Y"), &[("createlistingentry", "Y")]),
        fact("any text is a title", with("title", hard), &[("title", hard)]),
        fact("5,000 characters", with("title", "é".repeat(5000)), &[("title", &"é".repeat(5000))]),
        csv(
            "the documented CSV, field by field",
            vec![row("title", "note"), row("title", "")],
            "NONE",
            "1",
            "id,source,email,when,title,note\r\nevent-1,shop,a@test.com,01/01/2023,title,note\r\n\
             event-1,shop,a@test.com,01/01/2023,title,\r\n",
        ),
        csv(
            "rows that cannot go without quotes get them, in a CSV of their own",
            vec![row(hard, "n"), row("a,b", "n"), row("a,b", "c")],
            "DOUBLE_QUOTE",
            "2",
            &format!(
                "\"id\",\"source\",\"email\",\"when\",\"title\",\"note\"\r\n\
                 \"event-1\",\"shop\",\"a@test.com\",\"01/01/2023\",\"{doubled}\",\"n\"\r\n\
                 \"event-1\",\"shop\",\"a@test.com\",\"01/01/2023\",\"a,b\",\"n\"\r\n\
                 \"event-1\",\"shop\",\"a@test.com\",\"01/01/2023\",\"a,b\",\"c\"\r\n"
            ),
        ),
    ];
    for (format, day, _) in DATES {
        let mut event = with("when", day);
        event["dateformat"] = json!(format);
        requests.push(fact("each date format, given", event, &[("when", day), ("dateformat", format)]));
    }
    for action in ACTIONS {
        requests.push(fact("each action", with("customeventaction", action), &[("customeventaction", action)]));
    }
    requests
}

fn refused() -> Vec<Refused> {
    let of = |what, event, says| Refused { what, event, says };
    let mut refused = vec![
        of("no e-mail address", json!({"title": "t"}), &["email", "required"][..]),
        of("no title", json!({"email": "a@test.com"}), &["title", "required"]),
        of("an empty title", with("title", " "), &["title", "empty"]),
        of("an empty destination", with("destination", ""), &["destination", "custom_event"]),
        of("an empty action", with("customeventaction", ""), &["customeventaction", "required"]),
        of(
            "an unknown action",
            with("customeventaction", "CUSTOM_GENERAL6"),
            &["customeventaction", "CUSTOM_GENERAL5"],
        ),
        of("an unknown date format", with("dateformat", "yyyy-MM-dd HH:mm"), &["dateformat", "\"yyyy-MM-dd\""]),
        of("another answer than Y or N", with("createlistingentry", "true"), &["createlistingentry", "\"Y\" or \"N\""]),
        of("a field that Act-On does not know", with("Title", "t"), &["Title", "title"]),
        of("a NUL in a title", with("title", "a\0b"), &["title", "NUL"]),
        of("an address without @", with("email", "tester"), &["email", "no @"]),
        of("an address with two @", with("email", "a@b@test.com"), &["email", "more than one @"]),
        of("an address with a space", with("email", "a b@test.com"), &["email", "space"]),
        of("an address with a line break", with("email", "a@test.com\n"), &["email", "control"]),
        of("an address without a name", with("email", "@test.com"), &["email", "before its @"]),
        of("an address without a host", with("email", "a@"), &["email", "host"]),
        of("an address with an undotted host", with("email", "a@test"), &["email", "dotted host"]),
        of("an address too long", with("email", format!("{}@test.com", "a".repeat(250))), &["email", "254"]),
    ];
    for field in
        ["destination", "customeventaction", "email", "when", "title", "note", "dateformat", "createlistingentry"]
    {
        for (wrong, name) in [(json!(17), "a number"), (json!(true), "a boolean"), (json!({}), "an object")] {
            let says: &[&str] = match name {
                "a number" => &["a number", "a string"],
                "a boolean" => &["a boolean", "a string"],
                _ => &["an object", "a string"],
            };
            refused.push(of("a field that is no string", with(field, wrong), says));
        }
    }
    for (format, _, wrong) in DATES {
        for when in wrong {
            let mut event = with("when", *when);
            event["dateformat"] = json!(format);
            refused.push(of("a day that is not written as its format says", event, &["when", "date format"]));
        }
    }
    refused.push(of("no day at all", with("when", ""), &["when", "MM/dd/yyyy", "01/25/2023"]));
    refused
}

fn answers() -> Vec<Answered> {
    let mut answers = vec![
        answered(200, r#"{ "jobId": "15937380", "status": "success" }"#, "accepted", ""),
        answered(202, r#"{"status":"success","jobId":15937380}"#, "accepted", ""),
        answered(
            200,
            r#"{"status":"success"}"#,
            "unavailable",
            r#"Act-On answered 200: {"status":"success"}; expected status "success" and a jobId"#,
        ),
        answered(
            200,
            r#"{"jobId":"1"}"#,
            "unavailable",
            r#"Act-On answered 200: {"jobId":"1"}; expected status "success" and a jobId"#,
        ),
        answered(200, "", "unavailable", "Act-On answered 200; expected JSON with a jobId"),
        answered(
            200,
            "<html><title>Sign in</title></html>",
            "unavailable",
            "Act-On answered 200: an HTML page, Sign in; expected JSON with a jobId",
        ),
        answered(
            200,
            r#"{"status":"failure","message":"no such destination"}"#,
            "rejected",
            "Act-On answered 200: no such destination",
        ),
        answered(
            200,
            r#"{"errorCode":10054,"message":"bad column"}"#,
            "rejected",
            "Act-On answered 200: bad column, errorCode 10054",
        ),
        answered(200, r#"{"status":"The job is running"}"#, "delivered", ""),
        answered(200, r#"{"status":"success","details":{"status":"ok"}}"#, "delivered", ""),
    ];
    answers.extend(refusals());
    answers
}

/// Each shape of error, and each status.
fn refusals() -> Vec<Answered> {
    vec![
        answered(
            422,
            r#"{"errorCode":10121,"message":"Missing required parameter: title"}"#,
            "rejected",
            "Act-On answered 422: Missing required parameter: title, errorCode 10121",
        ),
        answered(
            401,
            r#"{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":"expired"}"#,
            "unauthorized",
            "Act-On answered 401: Unauthorized: expired",
        ),
        answered(
            401,
            r#"{"httpCode":"401","httpMessage":"Unauthorized","moreInformation":""}"#,
            "unauthorized",
            "Act-On answered 401: Unauthorized",
        ),
        answered(
            401,
            r#"{"error":"access_denied","error_description":"Unauthorized"}"#,
            "unauthorized",
            "Act-On answered 401: access_denied: Unauthorized",
        ),
        answered(
            400,
            r#"{"errorId":"e1","requestUri":"/x","errorMessage":"Bad upload","errorList":["no title",{"row":2}],"status":"400 BAD_REQUEST"}"#,
            "rejected",
            r#"Act-On answered 400: Bad upload: no title; {"row":2}"#,
        ),
        answered(400, "plain words", "rejected", "Act-On answered 400: plain words"),
        answered(400, "", "rejected", "Act-On answered 400"),
        answered(400, "{}", "rejected", "Act-On answered 400: {}"),
        answered(
            403,
            r#"{"errorCode":10001,"message":"PUBLIC_API_FEATURE_NOT_ENABLED"}"#,
            "unauthorized",
            "Act-On answered 403: PUBLIC_API_FEATURE_NOT_ENABLED, errorCode 10001; ask Act-On's support to enable the API \
             for this account",
        ),
        answered(403, "", "unauthorized", "Act-On answered 403"),
        answered(404, "", "rejected", "Act-On answered 404"),
        answered(408, "", "unavailable", "Act-On answered 408"),
        answered(413, "File is over 400 MB", "too_large", "Act-On answered 413: File is over 400 MB"),
        answered(429, "", "throttled", "Act-On answered 429"),
        answered(500, r#"{"message":"oops"}"#, "unavailable", "Act-On answered 500: oops"),
        answered(503, "", "unavailable", "Act-On answered 503"),
        answered(302, "", "unavailable", "Act-On answered 302"),
    ]
}
