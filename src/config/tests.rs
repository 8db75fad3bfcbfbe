use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;
use crate::event::{Event, Invalid};
use crate::gate::{Limit, Window};
use crate::vendors::{Facts, Item, REGISTRY, Refusal, Reply, Vendor};
use crate::verdict::Verdict;

const SAMPLE: &str = include_str!("../../deploy/sluice.sample.toml");
const SECRET: &str = "s3cr3t-value-of-some";

#[derive(Debug)]
struct Silent;

impl Vendor for Silent {
    fn prepare(&self, _: &Event, _: &Facts) -> Result<Item, Refusal> {
        Err(Refusal::Invalid("silent".to_owned()))
    }

    fn request(&self, _: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        Err(Invalid("silent".to_owned()))
    }

    fn judge(&self, _: &Reply) -> Verdict {
        Verdict::Delivered
    }

    fn credentials_check(&self) -> Option<Request<Bytes>> {
        None
    }
}

const KINDS: &[Kind] = &[
    Kind {
        name: "gainsight-px",
        limits: &["200/s", "1000000/day"],
        fields: vendors::gainsight_px::KIND.fields,
        person: vendors::gainsight_px::KIND.person,
        check: |_, _| Ok(()),
        configure: keyed,
    },
    Kind { name: "http", limits: &[], fields: &["body"], person: &[], check: |_, _| Ok(()), configure: json_api },
];

fn keyed(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    section.choice("region", &[("us", 1), ("eu", 2), ("us2", 3)]);
    section.url("base_url");
    section.required_secret("api_key");
    section.text("property_key");
    section.text("user_type");
    if section.failed() { None } else { Some(Box::new(Silent)) }
}

fn json_api(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    section.template("method");
    section.template("url");
    section.table_of_templates("headers", |_| None);
    section.expression("body");
    section.boolean("idempotency_key");
    section.integer("batch_max", 1..=10);
    section.optional("oauth", |oauth| {
        let keys = ["token_url", "client_id", "client_secret", "scope", "audience", "auth"];
        keys.map(|key| oauth.text(key)).into_iter().all(|text| text.is_some()).then_some(())
    });
    for statuses in ["success", "retry_statuses", "reject"] {
        section.integers(statuses, 100..=599, |_, _| None);
    }
    if section.failed() { None } else { Some(Box::new(Silent)) }
}

fn env(name: &str) -> Option<String> {
    match name {
        "SLUICE_NOTIFY_URL" => Some(format!("https://hooks.example.com/services/{SECRET}")),
        "SLUICE_AMQP_URL" => Some(format!("amqp://sluice:{SECRET}@localhost:5672/%2f")),
        "PX_API_KEY" | "HOOK_AUTH" | "HOOK_SECRET" | "ADMIN" | "ACTON_SECRET" | "ACTON_PASSWORD" | "ACTON_REFRESH" => {
            Some(SECRET.to_owned())
        }
        "ACTON_CLIENT" | "ACTON_USER" => Some("name".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn files(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/run/secrets/px") => Ok("from-a-file\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

/// The sample is read with the vendors that there are.
fn read_sample(text: &str) -> Result<Config, Problems> {
    let env = |name: &str| match name {
        "SLUICE_LEDGER_KEY" => Some(format!("{}=", "A".repeat(43))),
        "SLUICE_SUPPRESSION_KEY" => Some(SECRET.repeat(2)),
        "SLUICE_INGEST_SHOP" => Some("a-token-of-the-shop".to_owned()),
        "SLUICE_INGEST_SECRET" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        "SLUICE_DASHBOARD_TOKEN" => Some(format!("{SECRET} of the dashboard").replace(' ', "-")),
        _ => env(name).or_else(|| Some(SECRET.to_owned())),
    };
    parse_with(REGISTRY, "sluice.toml", text, &env, &files)
}

fn read(text: &str) -> Result<Config, Problems> {
    parse_with(KINDS, "sluice.toml", text, &env, &files)
}

const BROKER: &str = "[broker]\nurl = { env = \"SLUICE_AMQP_URL\" }\n";
/// After it.
const KEY: &str = "ledger_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n";

/// A file with a broker on lines 1 and 2 and then a destination, `[destinations.px]` on line 3.
fn with_destination(lines: &str) -> String {
    format!("{BROKER}[destinations.px]\n{lines}")
}

const GOOD: &str = "vendor = \"gainsight-px\"\napi_key = { env = \"PX_API_KEY\" }\nsubscribe = [\"#\"]\n";

/// What is shown for a bad file.
#[track_caller]
fn problems(text: &str) -> String {
    let problems = read(text).unwrap_err();
    let shown = problems.to_string();
    assert!(!shown.contains(SECRET), "{shown}");
    shown
}

/// The one problem that a good destination gets from another line, which is line 7.
#[track_caller]
fn problem_of(line: &str) -> String {
    let shown = problems(&with_destination(&format!("{GOOD}{line}\n")));
    assert_eq!(shown.lines().count(), 1, "{shown}");
    shown
}

fn destination(lines: &str) -> Destination {
    read(&with_destination(&format!("{GOOD}{lines}"))).unwrap().destinations.remove("px").unwrap()
}

#[test]
fn the_sample_is_good_and_shows_the_defaults() {
    let config = read_sample(SAMPLE).unwrap();
    let shown: BTreeSet<&str> = config.destinations.values().map(|destination| destination.vendor_name).collect();
    assert_eq!(shown, REGISTRY.iter().map(|kind| kind.name).collect());
    assert_eq!(config.broker.prefix, "sluice");
    assert_eq!(config.broker.declare, Declare::Create);
    assert_eq!(config.broker.max_event_bytes, 262_144);
    assert_eq!(config.broker.delivery_limit, 20);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.log, Log { format: Format::Text, level: "info".to_owned() });
    assert_eq!(config.retry, Retry::default());
    let px = &config.destinations["px-prod"];
    assert_eq!(px.vendor_name, "gainsight-px");
    assert_eq!(px.subscribe, ["product.#", "invoice.paid"]);
    let documented = [Limit { count: 200, window: Window::Second }, Limit { count: 1_000_000, window: Window::Day }];
    assert_eq!(px.limits, documented);
    assert_eq!((px.concurrency, px.timeout, px.park_after_rejections), (None, Duration::from_secs(10), 20));
    assert_eq!((px.proxy.clone(), px.http1_only), (None, false));
}

/// Every line of the sample that is commented out is a key: written out, it has to be right as well.
#[track_caller]
fn sample_with_every_key_written_out() -> Config {
    let key = regex::Regex::new(r"(?m)^# (\w+ = |\[)").unwrap();
    read_sample(&key.replace_all(SAMPLE, "$1")).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_sample_is_good_with_every_key_written_out() {
    let config = sample_with_every_key_written_out();
    let tokens: Vec<_> = config.admin.tokens.iter().map(|token| (token.name.as_str(), token.role)).collect();
    assert_eq!(tokens, [("admin", Role::Act), ("dashboard", Role::Read)]);
    assert_eq!(config.destinations["px-prod"].retry.delays, [10, 300].map(Duration::from_secs));
    let ingest = config.ingest.unwrap();
    assert_eq!((ingest.listen.port(), ingest.max_body_bytes), (9465, 4_194_304));
    assert_eq!((ingest.tokens[0].types.as_slice(), ingest.tokens[0].rate), (&["shop.#".to_owned()][..], Some(500.0)));
}

#[test]
fn a_history_is_kept_only_where_it_is_set_and_within_bounds() {
    assert_eq!(read(BROKER).unwrap().history, None);
    let of = |lines: &str| read(&format!("{BROKER}[history]\n{lines}\n")).unwrap().history.unwrap();
    let week = Duration::from_hours(7 * 24);
    assert_eq!(of(""), History { keep: week, max_bytes: 2_000_000_000, subject: false });
    let two_days = Duration::from_hours(48);
    assert_eq!(
        of("keep = \"2d\"\nmax_bytes = 50000000\nsubject = true"),
        History { keep: two_days, max_bytes: 50_000_000, subject: true }
    );
    for (lines, said) in [
        ("keep = \"1s\"", "history.keep: \"1s\" is out of range"),
        ("keep = 7", "history.keep: a duration needs its unit"),
        ("max_bytes = 5", "history.max_bytes: 5 is out of range"),
        ("subject = \"yes\"", "history.subject"),
        ("days = 7", "history.days"),
    ] {
        let shown = problems(&format!("{BROKER}[history]\n{lines}\n"));
        assert!(shown.contains(said) && shown.lines().count() == 1, "{lines}: {shown}");
    }
}

#[test]
fn events_over_http_are_off_unless_set_and_their_tokens_are_checked() {
    assert!(read(BROKER).unwrap().ingest.is_none());
    for (lines, said) in [
        ("", "ingest.listen: missing"),
        ("listen = \"here\"", "\"here\" is not an address and port"),
        ("listen = \"0.0.0.0:1\"", "ingest.tokens: missing: a token is required off loopback"),
        (
            "listen = \"127.0.0.1:1\"\n[ingest.tokens.a]\ntypes = [\"#\"]",
            "ingest.tokens.a.token: missing: write token =",
        ),
        ("listen = \"127.0.0.1:1\"\n[ingest.tokens.a]\ntoken = \"short\"", "shorter than 16 bytes"),
        ("listen = \"127.0.0.1:1\"\n[ingest.tokens.a]\nsecret = \"whsec_x\"", "no secret of Standard Webhooks"),
        (
            "listen = \"127.0.0.1:1\"\n[ingest.tokens.local]\ntoken = \"0123456789abcdef\"",
            "a name that Sluice uses itself",
        ),
        (
            "listen = \"127.0.0.1:1\"\ntokens = { a = { token = \"0123456789abcdef\" }, b = { token = \"0123456789abcdef\" } }",
            "is the same as that of \"a\"",
        ),
        (
            "listen = \"127.0.0.1:1\"\n[ingest.tokens.a]\ntoken = \"0123456789abcdef\"\nrate = \"5/week\"\n",
            "ingest.tokens.a.rate: \"5/week\" is not a limit",
        ),
        (
            "listen = \"127.0.0.1:1\"\n[ingest.tokens.a]\ntoken = \"0123456789abcdef\"\ntypes = []\n",
            "ingest.tokens.a.types: is empty",
        ),
    ] {
        let shown = problems(&format!("{BROKER}[ingest]\n{lines}\n"));
        assert!(shown.lines().count() == 1 && shown.contains(said), "{said} is not in {shown}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = "\
[broker]
url = \"http://localhost\"
prefx = \"x\"

[admin]
listen = \"0.0.0.0:9464\"

[destinations.px]
vendor = \"gainsight-px\"
timeot = \"10s\"
api_key = { env = \"NOT_SET\" }
subscribe = [
  \"a.#\",
  5,
]
limits = [\"200/fortnight\"]

[destination.py]
";
    let shown = problems(text);
    let expected = [
        "sluice.toml:2: broker.url: must begin with amqp:// or amqps://",
        "sluice.toml:3: broker.prefx: unknown key; did you mean \"prefix\"?",
        "sluice.toml:5: admin.token: missing: a token is required off loopback; add token = ",
        "sluice.toml:10: destinations.px.timeot: unknown key; did you mean \"timeout\"?",
        "sluice.toml:11: destinations.px.api_key: the environment variable NOT_SET is not set",
        "sluice.toml:14: destinations.px.subscribe: must be a string, not an integer",
        "sluice.toml:16: destinations.px.limits: \"200/fortnight\" is not a limit: ",
        "sluice.toml:18: destination: unknown key; did you mean \"destinations\"?",
    ];
    assert_eq!(shown.lines().count(), expected.len(), "{shown}");
    for (line, expected) in shown.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n is not\n{expected}");
    }
}

fn nodes(url: &str) -> Vec<String> {
    let config = read(&format!("[broker]\nurl = {url}\n")).unwrap();
    config.broker.url.iter().map(|url| url.expose_secret().to_owned()).collect()
}

#[test]
fn the_brokers_nodes_are_a_list_or_stand_in_one_string() {
    let (a, b, secret) = ("amqp://a/x", "amqps://b/x", format!("amqp://sluice:{SECRET}@localhost:5672/%2f"));
    assert_eq!(nodes("\"amqp://a/x\""), [a]);
    assert_eq!(nodes("[\"amqp://a/x\", \"amqps://b/x\"]"), [a, b]);
    assert_eq!(nodes("\"amqp://a/x, amqps://b/x\""), [a, b]);
    assert_eq!(nodes("[\"amqp://c/%2f\", { env = \"SLUICE_AMQP_URL\" }]"), ["amqp://c/%2f", &secret]);
}

#[test]
fn a_problem_of_the_brokers_url_says_of_which_node_it_is() {
    let shown = |url: &str| problems(&format!("[broker]\nurl = {url}\n"));
    let expected = "sluice.toml:2: broker.url: URL 2 of 3: must begin with amqp:// or amqps://
sluice.toml:2: broker.url: URL 3 of 3: is empty";
    assert_eq!(shown("[\"amqp://ann:s3cret@a\", \"http://ann:s3cret@b\", \"\"]"), expected);
    let astray = shown("[\"amqp://a/x\", \"amqp://b/x\", \"amqp://c/y\"]");
    assert!(astray.starts_with("sluice.toml:2: broker.url: URL 3 of 3: leads to another virtual host"), "{astray}");
    assert!(shown("[]").contains("names no node"));
    assert!(shown("[5]").contains("must be a string, not an integer"));
    assert_eq!(shown("{ env = \"EMPTY\" }"), "sluice.toml:2: broker.url: is empty");
}

#[test]
fn what_is_missing_is_shown_as_it_is_written() {
    let shown = problems("[destinations.px-prod]\nvendor = \"gainsight-px\"\n[destinations.hook]\n");
    let expected = "\
sluice.toml:1: broker.url: missing; add url = { env = \"SLUICE_AMQP_URL\" } under [broker]
sluice.toml:1: destinations.px-prod.api_key: missing; add api_key = { env = \"SLUICE_PX_PROD_API_KEY\" } under [destinations.px-prod]
sluice.toml:1: destinations.px-prod.subscribe: missing; add subscribe = [\"#\"] under [destinations.px-prod]
sluice.toml:3: destinations.hook.subscribe: missing; add subscribe = [\"#\"] under [destinations.hook]
sluice.toml:3: destinations.hook.vendor: missing; add vendor = \"gainsight-px\" or \"http\" under [destinations.hook]";
    assert_eq!(shown, expected);
}

#[test]
fn an_unknown_vendor_gets_the_list_of_known_ones_and_nothing_more() {
    let shown = problems(&with_destination("vendor = \"gainsight\"\nregion = \"us\"\nsubscribe = [\"#\"]\n"));
    let expected =
        "sluice.toml:4: destinations.px.vendor: \"gainsight\" is not known; write one of \"gainsight-px\", \"http\"";
    assert_eq!(shown, expected);
}

const MAP: &str = "[[destinations.px.map]]\n";

#[test]
fn map_rules_are_read_in_order_and_made_of_literals_references_and_expressions() {
    let rules = format!(
        "{GOOD}{MAP}type = \"shop.*\"\neventName = \"Bought\"\nidentifyId = {{ jq = \".user.id\" }}\n\
         attributes = {{ plan = {{ jq = \".plan\" }}, seats = 3, tags = [\"a\", {{ jq = \".tag\" }}] }}\nurl = {{ env = \"ADMIN\" }}\n\
         {MAP}eventName = \"Anything\"\n"
    );
    let config = read(&with_destination(&rules)).unwrap();
    let map = &config.destinations["px"].map;
    assert_eq!(map.rule_for("shop.order").unwrap().fields.len(), 4);
    assert_eq!(map.rule_for("other").unwrap().pattern, "#");
    assert_eq!(map.secrets(), [SECRET]);
    assert!(!format!("{map:?}").contains(SECRET));
}

#[test]
fn a_literal_that_the_vendor_never_takes_is_told_at_its_line() {
    let px = "vendor = \"gainsight-px\"\napi_key = \"k\"\nproperty_key = \"AP-XXXXXXXXXX-2\"\nsubscribe = [\"#\"]\n";
    let apsis = "vendor = \"apsis-one\"\nclient_id = \"c\"\nclient_secret = \"s\"\nsubscribe = [\"#\"]\n";
    let act_on = "vendor = \"act-on\"\nclient_id = \"c\"\nclient_secret = \"s\"\nusername = \"u\"\npassword = \"p\"\n\
                  token_file = \"/t\"\nsubscribe = [\"#\"]\n";
    let shown = |vendor: &str, rule: &str| {
        let text = with_destination(&format!("{vendor}{MAP}{rule}\n"));
        read_sample(&text).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    for (vendor, rule, expected) in [
        (
            px,
            "date = \"2026-01-01\"",
            "map.date: is the same for every event, and no event could be sent: \"date\" is a string",
        ),
        (px, "date = 1795000000", "these are seconds"),
        (px, "date = { jq = \"1795000000\" }", "these are seconds"),
        (px, "date = { jq = '\"soon\"' }", "\"date\" is a string"),
        (px, "eventName = true", "\"eventName\" is a boolean, it must be a string"),
        (px, "eventName = \" \"", "the required field \"eventName\" is empty"),
        (px, "eventName = { a = 1 }", "\"eventName\" is an object"),
        (px, "identifyId = [1]", "\"identifyId\" is an array"),
        (px, "userType = \"user\"", "it must be one of"),
        (px, "attributes = \"x\"", "\"attributes\" is a string, it must be an object"),
        (px, "attributes = { plan = \"a\", Plan = \"b\" }", "differ by case alone"),
        (apsis, "profile = 7", "\"profile\" is a number, it must be a string"),
        (apsis, "version_id = \"seven\"", "it must be a whole number"),
        (apsis, "event_time = \"yesterday\"", "not an RFC 3339 date and time"),
        (apsis, "data = []", "\"data\" is an array, it must be an object"),
        (act_on, "title = 7", "\"title\" is a number, it must be a string"),
        (act_on, "customeventaction = \"BOUGHT\"", "it must be one of"),
        (act_on, "createlistingentry = \"yes\"", "it must be \"Y\" or \"N\""),
        (act_on, "email = \"someone\"", "has no @"),
        (px, "eventName = { jq = \"null\" }", ""),
        (px, "date = { jq = \".date\" }", ""),
        (px, "attributes = { a = 1, b = { jq = \".b\" } }", ""),
    ] {
        let shown = shown(vendor, rule);
        let line = format!("sluice.toml:{}: destinations.px.map.", vendor.lines().count() + 5);
        let good = expected.is_empty() == shown.is_empty();
        assert!(good && shown.contains(expected) && (shown.is_empty() || shown.contains(&line)), "{rule}: {shown}");
    }
}

#[test]
fn a_wrong_map_is_told_at_the_line_of_its_key() {
    let shown = |rule: &str| problems(&with_destination(&format!("{GOOD}{MAP}{rule}\n")));
    for (rule, expected) in [
        (
            "eventName = { jq = \".a | | .b\" }",
            ":8: destinations.px.map.eventName: the jq expression is wrong: column 6: expected a term, found \"| .b\"",
        ),
        ("eventName = { jq = \".a | nosuch(.)\" }", "column 6: the filter nosuch is not known"),
        ("eventName = { jq = \"env.HOME\" }", "env is left out on purpose"),
        ("eventName = { jq = \"$ENV.HOME\" }", "the variable $ENV is not known"),
        ("eventName = { jq = \".a[\" }", "column 4: expected a term, found the end"),
        (
            "eventName = { jq = '.a | test(\"(\")' }",
            ":8: destinations.px.map.eventName: the jq expression is wrong: column 6: not a regular expression",
        ),
        ("eventName = { jq = 7 }", ":8: destinations.px.map.eventName: jq must be a string, not an integer"),
        ("eventname = \"a\"", ":8: destinations.px.map.eventname: unknown key; did you mean \"eventName\"?"),
        ("type = \"a..b\"", ":8: destinations.px.map.type: \"a..b\" is not a topic pattern"),
        ("eventName = { env = \"NO_SUCH\" }", "the environment variable NO_SUCH is not set"),
    ] {
        let shown = shown(rule);
        assert!(shown.contains(expected) && shown.lines().count() == 1, "{rule}: {shown}");
    }
    let shown = problems(&with_destination(&format!("{GOOD}map = 7\n")));
    assert!(shown.contains("must be an array of tables, as in [[destinations.px.map]]"), "{shown}");
}

#[test]
fn a_changed_rule_changes_the_destination() {
    let of = |rule: &str| read(&with_destination(&format!("{GOOD}{MAP}eventName = {rule}\n"))).unwrap();
    let old = of("{ jq = \".a\" }");
    assert_eq!(old.changes(&of("{ jq = \".a\" }")), Changes::default());
    assert_eq!(old.changes(&of("{ jq = \".b\" }")).changed, ["px"]);
    assert_eq!(old.changes(&of("\".a\"")).changed, ["px"]);
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    assert_eq!(
        problems("[broker]\nurl = amqp\n"),
        "sluice.toml:2: column 7: invalid TOML value, did you mean to use a quoted string?"
    );
    assert!(problems("[broker]\n\n[broker]\n").starts_with("sluice.toml:3: column 1: "));
    assert!(problems("a = 'é' b").starts_with("sluice.toml:1: column 9: "));
}

#[test]
fn each_wrong_value_is_told_with_what_to_write() {
    let cases = [
        ("timeout = 10", "timeout: a duration needs its unit: write \"10s\" for seconds"),
        ("timeout = \"ten\"", "timeout: \"ten\" is not a duration; write one as \"250ms\", \"5s\" or \"2h\""),
        ("timeout = \"1h\"", "timeout: \"1h\" is out of range; write \"100ms\" to \"5m\""),
        ("timeout = \"-5s\"", "timeout: \"-5s\" is not a duration"),
        ("timeout = \"1 month\"", "timeout: \"1 month\" is not a duration"),
        ("concurrency = 0", "concurrency: 0 is out of range; write 1 to 1000"),
        ("concurrency = \"32\"", "concurrency: must be a whole number, not a string"),
        ("http1_only = \"yes\"", "http1_only: must be true or false, not a string"),
        ("limits = []", "limits: is empty; write the account's limits"),
        ("limits = \"10/s\"", "limits: must be an array, as in limits = [\"…\"], not a string"),
        ("region = \"mars\"", "region: \"mars\" is not known; write one of \"us\", \"eu\", \"us2\""),
        ("region = { env = \"PX_API_KEY\" }", "region: what it refers to is not known; write one of"),
        ("region = { var = \"X\" }", "region: must be a string, { env = \"NAME\" } or { file = \"/path\" }"),
        ("region = { file = \"/nope\" }", "region: cannot read /nope: entity not found"),
        ("proxy = \"proxy:3128\"", "proxy: must begin with http:// or https://"),
        ("proxy = \"http://me:s3cr3t-value@proxy\"", "proxy: must not contain credentials"),
        ("bulk_share = \"lots\"", "bulk_share: \"lots\" is not a share: write a percentage from \"0%\" to \"100%\""),
        ("bulk_share = \"101%\"", "bulk_share: \"101%\" is not a share"),
        ("bulk_share = 5", "bulk_share: must be a string"),
        ("bulk = [\"import.#.#.#\"]", "bulk: \"import.#.#.#\" is not a topic pattern"),
        ("bulk = [\"import.#\", \"import.#\"]", "bulk: \"import.#\" is there twice; remove one"),
        ("retry = 5", "retry: must be a table, as in [destinations.px.retry], not an integer"),
        ("retry = { delays = [\"5s\", \"5s\"] }", "retry.delays: 5s follows 5s; write each delay once"),
        ("retry = { delays = [\"1m\", \"5s\"] }", "retry.delays: 5s follows 1m; write each delay once"),
        ("retry = { delays = [\"1500ms\"] }", "retry.delays: 1s 500ms is not whole seconds; write \"1s\""),
        ("retry = { delays = [\"8d\"] }", "retry.delays: \"8d\" is out of range; write \"1s\" to \"168h\""),
        ("retry = { delays = [] }", "retry.delays: write 1 to 12 delays"),
        ("retry = { max_age = \"2s\" }", "retry.max_age: 2s is over before the first delay (5s)"),
        ("retry = { max_ege = \"2h\" }", "retry.max_ege: unknown key; did you mean \"max_age\"?"),
    ];
    for (line, expected) in cases {
        let shown = problem_of(line);
        let expected = format!("sluice.toml:7: destinations.px.{expected}");
        assert!(shown.starts_with(&expected), "{shown}\n is not\n{expected}");
    }
}

#[test]
fn only_topic_patterns_are_subscribed_to() {
    let with = |pattern: &str| {
        let lines = GOOD.replace("\"#\"", &format!("{pattern:?}"));
        read(&with_destination(&lines)).map(|config| config.destinations["px"].subscribe.clone())
    };
    for good in ["#", "*", "a.b", "a.*.#", "user_signed-up.v1", &"a".repeat(255)] {
        assert_eq!(with(good).unwrap(), [good]);
    }
    for bad in ["", "a..b", ".a", "a.", "a.b*", "#a", "a b", "a\nb", &"a".repeat(256)] {
        assert!(with(bad).unwrap_err().to_string().contains("is not a topic pattern"), "{bad:?}");
    }
    let none = problems(&with_destination(&GOOD.replace("\"#\"", "")));
    assert!(none.starts_with("sluice.toml:6: destinations.px.subscribe: is empty"), "{none}");
}

#[test]
fn a_pattern_that_not_every_broker_binds_is_told_with_the_mend() {
    let shown = |patterns: &str| problems(&with_destination(&GOOD.replace("[\"#\"]", patterns)));
    for (patterns, says) in [
        ("[\"#.a.#.b.#\"]", "it has 3 #, and RabbitMQ from 4.3.5 on refuses more than 2"),
        ("[\"#.#.#.#\"]", "it has 4 #"),
        ("[\"a.#\", \"b\", \"a.#\"]", "\"a.#\" is there twice; remove one"),
    ] {
        let shown = shown(patterns);
        assert!(shown.starts_with("sluice.toml:6: destinations.px.subscribe: ") && shown.contains(says), "{shown}");
    }
    let long = shown(&format!("[{:?}]", "a".repeat(256)));
    assert!(long.contains("it has 256 bytes, and 255 are allowed"), "{long}");
    let rule = problems(&with_destination(&format!("{GOOD}{MAP}type = \"#.#.#\"\neventName = \"a\"\n")));
    assert!(rule.contains("map.type: ") && rule.contains("it has 3 #"), "{rule}");
    for good in ["[\"#.#\"]", "[\"#.a.#\", \"#\"]"] {
        read(&with_destination(&GOOD.replace("[\"#\"]", good))).unwrap();
    }
}

#[test]
fn a_destination_with_a_dot_in_its_name_is_told_so_and_nothing_else() {
    let at = |name: &str| problems(&format!("{BROKER}[destinations.{name}]\n{GOOD}"));
    assert_eq!(
        at("h.eu"),
        "sluice.toml:3: destinations.h.eu: a destination's name cannot have a dot, here \"h.eu\"; write [destinations.h-eu]"
    );
    let deep = at("h.eu.west");
    assert!(deep.contains("here \"h.eu.west\"; write [destinations.h-eu-west]") && deep.lines().count() == 1, "{deep}");
    let both = problems(&format!("{BROKER}[destinations.h]\n{GOOD}[destinations.h.eu]\n{GOOD}"));
    assert!(both.contains(":7: destinations.h.eu: a destination's name cannot have a dot"), "{both}");
    assert_eq!(both.lines().count(), 1, "{both}");
}

const ACT_ON: &str = "vendor = \"act-on\"\nsubscribe = [\"#\"]\nclient_id = \"c\"\nclient_secret = \"s3cr3t-value\"\n";
const USER: &str = "username = \"Ann@example.com\"\npassword = \"s3cr3t-value\"\n";

/// What two destinations of these lines are told.
fn told_of_two(first: &str, second: &str) -> (String, Vec<String>) {
    let text = format!("{BROKER}{KEY}[destinations.a]\n{first}[destinations.b]\n{second}");
    match read_sample(&text) {
        Ok(config) => (
            String::new(),
            config.warnings.into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect(),
        ),
        Err(problems) => (problems.to_string(), Vec::new()),
    }
}

#[test]
fn two_destinations_with_one_account_that_ends_each_others_token_are_refused() {
    let user = format!("{ACT_ON}{USER}");
    let refresh = format!("{ACT_ON}refresh_token = \"s3cr3t-value\"\n");
    for (first, second) in [
        (user.clone(), user.clone()),
        (user.clone(), user.replace("Ann@", "ann@")),
        (user.clone(), format!("{user}region = \"eu\"\n")),
        (refresh.clone(), refresh.clone()),
    ] {
        let (problems, _) = told_of_two(&first, &second);
        assert!(problems.contains("destinations.b: has the same Act-On client_id and account as destination \"a\": each would end the other's token"), "{problems}");
        assert!(problems.lines().count() == 1 && !problems.contains("s3cr3t-value"), "{problems}");
    }
    let other = user.replace("Ann@", "bob@");
    assert_eq!(told_of_two(&user, &other), (String::new(), Vec::new()));
    let elsewhere = format!("{user}base_url = \"http://localhost:9500\"\n");
    assert_eq!(told_of_two(&user, &elsewhere), (String::new(), Vec::new()));
}

#[test]
fn hours_of_sending_are_a_window_in_a_zone() {
    let read = |text: &str| {
        let px = "vendor = \"gainsight-px\"\nsubscribe = [\"#\"]\napi_key = \"k\"\n";
        read_sample(&format!("{BROKER}[destinations.px]\n{px}send_between = \"{text}\"\n"))
    };
    let good = read("08:00-20:00 Europe/Stockholm").unwrap();
    let hours = good.destinations["px"].send_between.as_ref().unwrap();
    assert_eq!(hours.to_string(), "08:00-20:00 Europe/Stockholm");
    for (wrong, words) in
        [("8-20", "write it like"), ("08:00-20:00 Mars/Base", "no time zone"), ("08:00-08:00 UTC", "leave it out")]
    {
        let said = read(wrong).unwrap_err().to_string();
        assert!(said.contains("destinations.px.send_between") && said.contains(words), "{said}");
    }
}

#[test]
fn a_days_start_is_a_time_in_a_zone_and_needs_a_days_budget() {
    let read = |lines: &str| {
        let px = "vendor = \"gainsight-px\"\nsubscribe = [\"#\"]\napi_key = \"k\"\n";
        read_sample(&format!("{BROKER}[destinations.px]\n{px}{lines}\n"))
    };
    let starts = |lines: &str| read(lines).unwrap().destinations["px"].day_starts.to_string();
    assert_eq!(starts(""), "midnight UTC");
    assert_eq!(starts("day_starts = \"06:30 Europe/Stockholm\""), "06:30 Europe/Stockholm");
    let wrong = read("day_starts = \"noon\"").unwrap_err().to_string();
    assert!(wrong.contains("write it like \"00:00 UTC\""), "{wrong}");
    let alone = read("limits = [\"5/s\"]\nday_starts = \"00:00 UTC\"").unwrap_err().to_string();
    assert!(alone.contains("add one to limits"), "{alone}");
}

#[test]
fn tokens_that_the_next_worker_would_not_find_are_warned_of_where_that_hurts() {
    let warnings = |key: &str, lines: &str| {
        let config = read_sample(&format!("{BROKER}{key}[destinations.a]\n{ACT_ON}{USER}{lines}")).unwrap();
        config.warnings.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    assert!(warnings("", "").concat().contains("set [broker] ledger_key"));
    assert_eq!(warnings(KEY, ""), Vec::<String>::new());
    for key in ["", KEY] {
        let told = warnings(key, "token_file = \"/tmp/t\"\n");
        assert!(told.len() == 1 && told[0].starts_with("token_file is on the disk of one machine"), "{told:?}");
    }
}

#[test]
fn a_concurrency_that_may_keep_the_limits_from_being_used_is_warned_of() {
    let warnings = |lines: &str| {
        let px = "vendor = \"gainsight-px\"\nsubscribe = [\"#\"]\napi_key = \"k\"\n";
        let config = read_sample(&format!("{BROKER}[destinations.px]\n{px}{lines}\n")).unwrap();
        config.warnings.into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>()
    };
    let told = warnings("limits = [\"200/s\", \"1000000/day\"]\nconcurrency = 32");
    let expected = "destinations.px: concurrency = 32 lets all of its limits through only while the vendor answers within 160 ms; ";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    assert!(warnings("limits = [\"200/s\"]\nconcurrency = 100").is_empty());
    assert!(warnings("limits = [\"200/s\"]").is_empty());
    assert!(warnings("limits = [\"1000/day\"]\nconcurrency = 1").is_empty());
}

#[test]
fn two_destinations_that_share_a_quota_are_warned_of_unless_each_has_its_share() {
    let px = "vendor = \"gainsight-px\"\nsubscribe = [\"#\"]\napi_key = \"s3cr3t-value\"\n";
    let apsis =
        "vendor = \"apsis-one\"\nsubscribe = [\"#\"]\nclient_id = \"s3cr3t-value\"\nclient_secret = \"s3cr3t-value\"\n";
    let other_client = format!("{ACT_ON}{USER}").replace("client_id = \"c\"", "client_id = \"d\"");
    for (first, second, what) in [
        (px.to_owned(), px.to_owned(), "Gainsight PX api_key"),
        (apsis.to_owned(), apsis.to_owned(), "APSIS One client_id"),
        (format!("{ACT_ON}{USER}"), other_client, "Act-On username"),
    ] {
        let (problems, warnings) = told_of_two(&first, &second);
        assert_eq!((problems.as_str(), warnings.len()), ("", 1), "{warnings:?}");
        assert!(
            warnings[0]
                .starts_with(&format!("destinations.b: has the same {what} as destination \"a\", and each counts")),
            "{warnings:?}"
        );
        assert!(!warnings[0].contains("s3cr3t-value") && !warnings[0].contains("example.com"), "{warnings:?}");
        let shares = |lines: &str| format!("{lines}limits = [\"2/s\"]\n");
        assert_eq!(told_of_two(&shares(&first), &shares(&second)), (String::new(), Vec::new()));
        assert_eq!(told_of_two(&shares(&first), &second).1.len(), 1);
    }
    let eu = format!("{px}region = \"eu\"\n");
    assert_eq!(told_of_two(px, &eu), (String::new(), Vec::new()));
}

#[test]
fn a_destination_may_not_be_called_like_sluices_own_objects() {
    for name in [
        "events",
        "unrouted",
        "control",
        "receipts",
        "history",
        "suppressed",
        "Px",
        "\"a.b\"",
        "-a",
        "\"\"",
        "\"ü\"",
        &"a".repeat(64),
    ] {
        let shown = problems(&format!("{BROKER}[destinations.{name}]\n{GOOD}"));
        assert_eq!(shown.lines().count(), 1, "{shown}");
        assert!(shown.starts_with("sluice.toml:3: destinations."), "{shown}");
    }
    for name in ["a", "0", "px_prod-2", &"a".repeat(63)] {
        read(&format!("{BROKER}[destinations.{name}]\n{GOOD}")).unwrap();
    }
}

#[test]
fn a_key_that_every_destination_has_is_known_beside_an_unknown_vendor() {
    let shown = problems(&with_destination("vendor = \"mars\"\nsubscribe = [\"#\"]\nhttp1_only = true\n"));
    assert!(shown.contains("destinations.px.vendor: \"mars\" is not known") && shown.lines().count() == 1, "{shown}");
}

#[test]
fn a_vendor_that_documents_no_limits_needs_them_set() {
    let shown = problems(&with_destination("vendor = \"http\"\nsubscribe = [\"#\"]\n"));
    assert_eq!(
        shown,
        "sluice.toml:3: destinations.px.limits: missing; add limits = [\"10/s\"] under [destinations.px]"
    );
}

#[test]
fn an_empty_secret_is_a_problem_and_a_files_last_newline_is_not_part_of_it() {
    let with = |key: &str| with_destination(&GOOD.replace("{ env = \"PX_API_KEY\" }", key));
    for empty in ["\"\"", "{ env = \"EMPTY\" }"] {
        assert_eq!(problems(&with(empty)), "sluice.toml:5: destinations.px.api_key: is empty");
    }
    read(&with("{ file = \"/run/secrets/px\" }")).unwrap();
    let text = "key = { file = \"/run/secrets/px\" }";
    let mut section = Section::new(
        Source { line_breaks: &[], env: &env, read_file: &files },
        "px".to_owned(),
        1,
        read_toml(text).unwrap(),
    );
    assert_eq!(section.required_text("key").unwrap(), "from-a-file");
}

#[test]
fn a_webhook_is_told_of_what_it_asks_for() {
    let read_one = |lines: &str| {
        read(&format!("{BROKER}[[notify]]\nurl = \"https://hooks.example.com/x\"\n{lines}")).unwrap().notify.remove(0)
    };
    let all = read_one("");
    assert!([What::New, What::Again, What::Over].iter().all(|what| all.wants(*what, None)));
    let some = read_one("on = [\"over\"]\ndestinations = [\"px\"]\n");
    assert!(some.wants(What::Over, Some("px")));
    assert!(
        !some.wants(What::New, Some("px")) && !some.wants(What::Over, Some("crm")) && !some.wants(What::Over, None)
    );
    for (lines, said) in [
        ("[[notify]]\n", "notify.url: missing; add url = "),
        ("[[notify]]\nurl = \"x\"\n", "notify.url: "),
        ("[[notify]]\nurl = \"https://a\"\non = [\"old\"]\n", "\"old\" is not known; write some of \"new\""),
        ("[[notify]]\nurl = \"https://a\"\nbody = { jq = \"{\" }\n", "notify.body"),
        ("[[notify]]\nurl = \"https://a\"\nheaders = { host = \"x\" }\n", "notify.headers.host"),
        ("[notify]\nurl = \"https://a\"\n", "must be an array of tables, as in [[notify]]"),
    ] {
        let shown = problems(&format!("{BROKER}{lines}"));
        assert!(shown.contains(said), "{lines}: {shown}");
    }
}

#[test]
fn no_secret_is_shown_by_debug() {
    let config = sample_with_every_key_written_out();
    assert!(!config.admin.tokens.is_empty());
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn admin_may_be_open_on_any_loopback_address_or_with_a_token() {
    for good in [
        "listen = \"[::1]:80\"",
        "listen = \"127.9.9.9:1\"",
        "listen = \"0.0.0.0:1\"\ntoken = \"sixteen-bytes-or-more\"",
    ] {
        read(&format!("{BROKER}[admin]\n{good}\n")).unwrap();
    }
    let named =
        "[admin]\nlisten = \"0.0.0.0:1\"\n[admin.tokens.ops]\ntoken = \"sixteen-bytes-or-more\"\nrole = \"read\"\n";
    assert_eq!(read(&format!("{BROKER}{named}")).unwrap().admin.tokens.len(), 1);
    assert!(
        problems(&format!("{BROKER}[admin]\nlisten = \"0.0.0.0:1\"\n[admin.tokens]\n")).contains("a token is required")
    );
    let shown = problems(&format!("{BROKER}[admin]\nlisten = \"localhost\"\n"));
    assert!(shown.contains("\"localhost\" is not an address and port; write one as \"127.0.0.1:9464\""), "{shown}");
}

#[test]
fn each_token_has_a_name_a_role_and_a_secret_of_its_own() {
    let with = |name: &str, lines: &str| {
        format!("{BROKER}[admin]\ntoken = {{ env = \"ADMIN\" }}\n[admin.tokens.{name}]\n{lines}\n")
    };
    let good = "token = \"a-token-of-its-own\"\nrole = \"act\"";
    let text = with("b", good) + "[admin.tokens.a]\nrole = \"read\"\ntoken = { file = \"/run/secrets/token\" }\n";
    let files = |path: &Path| match path.to_str() {
        Some("/run/secrets/token") => Ok("another-of-its-own\n".to_owned()),
        _ => files(path),
    };
    let config = parse_with(KINDS, "sluice.toml", &text, &env, &files).unwrap();
    let tokens: Vec<_> = config.admin.tokens.iter().map(|token| (token.name.as_str(), token.role)).collect();
    assert_eq!(tokens, [("admin", Role::Act), ("a", Role::Read), ("b", Role::Act)]);
    for (name, lines, expected) in [
        (
            "b",
            "token = \"fifteen-bytes-x\"\nrole = \"act\"",
            "6: admin.tokens.b.token: is shorter than 16 bytes; choose a longer one",
        ),
        ("b", "token = \"with a space in it\"\nrole = \"act\"", "6: admin.tokens.b.token: cannot be sent in a header"),
        (
            "b",
            "role = \"act\"",
            "5: admin.tokens.b.token: missing; add token = { env = \"SLUICE_B_TOKEN\" } under [admin.tokens.b]",
        ),
        (
            "b",
            "token = \"a-token-of-its-own\"",
            "5: admin.tokens.b.role: missing; add role = \"read\" or \"act\" under [admin.tokens.b]",
        ),
        (
            "b",
            "token = \"a-token-of-its-own\"\nrole = \"write\"",
            "7: admin.tokens.b.role: \"write\" is not known; write one of \"read\", \"act\"",
        ),
        (
            "b",
            "token = \"a-token-of-its-own\"\nrole = \"act\"\nroles = 1",
            "8: admin.tokens.b.roles: unknown key; did you mean \"role\"?",
        ),
        ("local", good, "5: admin.tokens.local: \"local\" is a name that Sluice uses itself"),
        ("admin", good, "5: admin.tokens.admin: \"admin\" is a name that Sluice uses itself"),
        ("Ops", good, "5: admin.tokens.Ops: a token's name is 1 to 63 of"),
    ] {
        let shown = problems(&with(name, lines));
        assert!(shown.starts_with(&format!("sluice.toml:{expected}")) && shown.lines().count() == 1, "{shown}");
    }
    let twice = with("b", good) + "[admin.tokens.c]\n" + good;
    assert_eq!(
        problems(&twice),
        "sluice.toml:9: admin.tokens.c.token: is the same as that of \"b\"; give each its own"
    );
    let alike = with("b", "role = \"act\"\ntoken = { env = \"ADMIN\" }");
    assert!(problems(&alike).contains("is the same as that of \"admin\""));
}

#[test]
fn a_log_level_is_checked() {
    read(&format!("{BROKER}[log]\nlevel = \"warn,sluice::gate=trace\"\nformat = \"json\"\n")).unwrap();
    let shown = problems(&format!("{BROKER}[log]\nlevel = \"loud=very\"\nformat = \"xml\"\n"));
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

#[test]
fn problems_are_data_as_well() {
    let problems = read("[broker]\nurl = 5\n").unwrap_err();
    let expected = serde_json::json!({
        "file": "sluice.toml",
        "problems": [{ "line": 2, "key": "broker.url", "message": "must be a string, not an integer" }],
    });
    assert_eq!(serde_json::to_value(&problems).unwrap(), expected);
}

#[test]
fn whoever_only_asks_a_worker_needs_no_other_secret_than_a_token() {
    let admin = |lines: &str| {
        let text = format!(
            "[broker]\nurl = {{ env = \"NOT_HERE\" }}\n[admin]\n{lines}\n[destinations.px]\nvendor = \"gainsight-px\"\napi_key = {{ env = \"NOT_HERE\" }}"
        );
        let env = |name: &str| (name == "TOKEN").then(|| "0123456789abcdef".to_owned());
        parse_admin("sluice.toml", &text, &env, &|_| Err(io::ErrorKind::NotFound.into()))
    };
    assert_eq!(admin("listen = \"127.0.0.1:5\"").unwrap().listen.port(), 5);
    let own = "[admin.tokens.me]\nrole = \"read\"\ntoken = { env = \"TOKEN\" }";
    let one = admin(&format!("token = {{ env = \"NOT_HERE\" }}\n{own}")).unwrap();
    assert_eq!(one.tokens.iter().map(|token| token.name.as_str()).collect::<Vec<_>>(), ["me"]);
    let none = admin("token = { env = \"NOT_HERE\" }").unwrap_err().to_string();
    assert!(none.contains("admin.token: the environment variable NOT_HERE is not set"), "{none}");
    let unknown = admin("tokn = \"x\"").unwrap_err().to_string();
    assert!(unknown.contains("did you mean \"token\"?"), "{unknown}");
}

#[test]
fn a_command_that_sends_nothing_to_vendors_needs_none_of_their_secrets_and_no_other_of_a_workers() {
    let needs = |name: &str| format!("{{ env = \"{name}\" }}");
    let all = format!(
        "[broker]\nurl = {url}\nledger_key = {it}\n[admin]\nlisten = \"127.0.0.1:5\"\ntoken = {it}\n\
         [ingest]\nlisten = \"127.0.0.1:6\"\n[ingest.tokens.shop]\ntoken = {it}\nsources = [\"/shop\"]\n[[notify]]\nurl = {it}\n\
         [destinations.px]\nvendor = \"gainsight-px\"\nregion = \"us\"\napi_key = {it}\nproperty_key = \"AP-XXXXXXXXXX-2\"\nsubscribe = [\"a.#\"]\n\
         [destinations.acton]\nvendor = \"act-on\"\nregion = \"eu\"\nclient_id = {id}\nclient_secret = {it}\nusername = {it}\npassword = {{ file = \"/run/secrets/x\" }}\nsubscribe = [\"b.#\"]\n\
         [destinations.apsis]\nvendor = \"apsis-one\"\nregion = \"eu\"\nclient_id = {it}\nclient_secret = {it}\nkeyspace = \"com.apsis1.keyspaces.email\"\nsection = \"usercreated.sections.my_section-h4h3dpu3qi\"\nsubscribe = [\"c.#\"]\n\
         [destinations.hook]\nvendor = \"http\"\nurl = {it}\nheaders = {{ authorization = {it} }}\nlimits = [\"9/s\"]\nsubscribe = [\"#\"]\n",
        url = needs("URL"),
        it = needs("NOT_HERE"),
        id = needs("NOT_HERE_EITHER"),
    );
    let env = |name: &str| (name == "URL").then(|| "amqp://localhost".to_owned());
    let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let read = |text: &str| parse_for_commands("sluice.toml", text, &env, &none);
    let config = read(&all).unwrap();
    assert_eq!(config.destinations.keys().collect::<Vec<_>>(), ["acton", "apsis", "hook", "px"]);
    assert_eq!((config.admin.listen.port(), config.admin.tokens.len()), (5, 0));
    assert!(parse("sluice.toml", &all, &env, &none).is_err(), "a worker needs them");

    let without_url = read(&all.replace("URL", "OTHER")).unwrap_err().to_string();
    assert!(without_url.contains("broker.url: the environment variable OTHER is not set"), "{without_url}");
    let routes = read(&all.replace("\"a.#\"", &needs("TYPES"))).unwrap_err().to_string();
    assert!(routes.contains("the environment variable TYPES is not set"), "where events go is known: {routes}");
    let wrong = read(&all.replace("region = \"us\"", "regio = \"us\"")).unwrap_err().to_string();
    assert!(wrong.contains("did you mean \"region\"?"), "{wrong}");
    let key = format!("{all}[suppression]\nkey = {}\n", needs("NOT_HERE"));
    assert!(
        read(&key).unwrap_err().to_string().contains("suppression.key: "),
        "a digest with another key means nobody"
    );
}

#[test]
fn a_reload_tells_what_changed() {
    let all = |broker: &str, destinations: &[(&str, &str)]| {
        let tables = destinations.iter().map(|(name, lines)| format!("[destinations.{name}]\n{GOOD}{lines}\n"));
        read(&format!("{BROKER}{broker}\n{}", tables.collect::<String>())).unwrap()
    };
    let old = all("", &[("a", ""), ("b", ""), ("c", "limits = [\"5/s\"]")]);
    let new = all("prefix = \"x\"", &[("b", "# a comment changes nothing"), ("c", "limits = [\"6/s\"]"), ("d", "")]);
    let names = |name: &str| vec![name.to_owned()];
    let expected = Changes { added: names("d"), removed: names("a"), changed: names("c"), ..needs_restart("broker") };
    assert_eq!(old.changes(&new), expected);
    assert_eq!(old.changes(&old), Changes::default());
    let elsewhere = all("[admin]\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"", &[]);
    assert_eq!(all("", &[]).changes(&elsewhere).restart_needed, ["admin.listen", "log"]);
    let taking = all("[ingest]\nlisten = \"127.0.0.1:1\"\n", &[]);
    assert_eq!(all("", &[]).changes(&taking).restart_needed, ["ingest.listen"]);
    let larger = all("[ingest]\nlisten = \"127.0.0.1:1\"\nmax_body_bytes = 2048\n", &[]);
    assert_eq!(taking.changes(&larger).restart_needed, ["ingest.max_body_bytes"]);
    let more = all("[ingest]\nlisten = \"127.0.0.1:1\"\n[ingest.tokens.a]\ntoken = \"0123456789abcdef\"\n", &[]);
    assert_eq!(taking.changes(&more), Changes { also_changed: vec!["ingest.tokens"], ..Changes::default() });
    assert_eq!(more.changes(&taking), needs_restart("ingest.tokens"), "the last token is never dropped");
}

fn needs_restart(section: &'static str) -> Changes {
    Changes { restart_needed: vec![section], ..Changes::default() }
}

#[test]
fn a_webhook_for_a_destination_that_is_not_there_is_a_warning() {
    let config =
        read(&format!("{BROKER}[[notify]]\nurl = \"https://a.example\"\ndestinations = [\"px-prd\"]")).unwrap();
    let warnings: Vec<&str> = config.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["no destination is called \"px-prd\", so nothing is told of it"]);
}

#[test]
fn a_reload_tells_what_changed_beside_destinations() {
    let of = |lines: &str| read(&format!("{BROKER}{lines}")).unwrap();
    let also = |name| Changes { also_changed: vec![name], ..Changes::default() };
    let told = of("[[notify]]\nurl = \"https://a.example/1\"");
    assert_eq!(of("").changes(&told), also("notify"));
    assert_eq!(told.changes(&of("[[notify]]\nurl = \"https://a.example/2\"")), also("notify"));
    assert_eq!(told.changes(&told.clone()), Changes::default());
    let admin = of("[admin]\ntoken = \"0123456789abcdef\"");
    assert_eq!(of("").changes(&admin), also("admin.tokens"));
    assert_eq!(admin.changes(&of("[admin]\ntoken = \"another-0123456789\"")), also("admin.tokens"));
    assert_eq!(admin.changes(&of("")), needs_restart("admin.tokens"), "the last token is never dropped");
    assert_eq!(of("").changes(&of("[admin]\nlate_after = \"5m\"")), also("admin.late_after"));
    let key = |byte: u8| of(&format!("ledger_key = \"{}\"", STANDARD.encode([byte; 32])));
    assert_eq!(key(1).changes(&key(2)), needs_restart("broker"));
    assert_eq!(key(1).changes(&key(1)), Changes::default());
}

#[test]
fn a_new_secret_or_a_new_default_for_retries_changes_a_destination() {
    let text = with_destination(GOOD);
    let old = read(&text).unwrap();
    let rotated = |name: &str| env(name).map(|value| if name == "PX_API_KEY" { "new".to_owned() } else { value });
    let new = parse_with(KINDS, "sluice.toml", &text, &rotated, &files).unwrap();
    assert_eq!(old.changes(&new).changed, ["px"]);
    let slower = read(&format!("{text}[retry]\nmax_age = \"48h\"\n")).unwrap();
    assert_eq!(old.changes(&slower).changed, ["px"]);
    assert!(!destination("").source.contains(SECRET));
}

#[test]
fn a_destinations_own_retry_stands_over_the_common_one() {
    let own = destination("retry = { max_age = \"2h\" }\n");
    assert_eq!(own.retry, Retry { max_age: Duration::from_hours(2), ..Retry::default() });
}

#[test]
fn a_file_without_destinations_or_with_windows_line_ends_is_good() {
    assert!(read(BROKER).unwrap().destinations.is_empty());
    read_sample(&SAMPLE.replace('\n', "\r\n")).unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_or_show_a_secret(text in ".{0,200}", at in 0..SAMPLE.len(), cut in 0..40usize) {
        let at = SAMPLE.floor_char_boundary(at);
        let rest = SAMPLE.floor_char_boundary((at + cut).min(SAMPLE.len()));
        let (before, after) = (&SAMPLE[..at], &SAMPLE[rest..]);
        for text in [format!("{before}{text}{after}"), format!("{before}{after}"), text.clone()] {
            if let Err(problems) = read_sample(&text) {
                prop_assert!(!problems.problems.is_empty());
                prop_assert!(!problems.to_string().contains(SECRET));
            }
        }
    }
}
