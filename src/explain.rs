//! Shows what a destination makes of an event: the exact request with secrets masked, or what is wrong. Sends nothing. Pure.

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::config::Destination;
use crate::event::{self, Event, Expiry, too_far};
use crate::person::Digest;
use crate::redact;
use crate::vendors::{Facts, SecretAddress, secrets_of};

/// The request as JSON (`method`, `url`, `headers`, `body`, and `body_text`, which is the body byte for byte), or a `problem`; with the rule of
/// `map` that made it.
#[must_use]
pub fn explain(destination: &Destination, event: &Event) -> Value {
    let mut explained = match request(destination, event) {
        Ok(request) => requested(&request, event, destination),
        Err(problem) => json!({ "problem": redact::masked(&problem, &destination.map.secrets()) }),
    };
    name(&mut explained, destination);
    if let Ok(Some(people)) = people(destination, event) {
        explained["people"] = json!(people);
    }
    if explained.get("problem").is_none()
        && let Some((at, why)) = waits(destination, event, clock::wall())
    {
        explained["not_before"] = json!(at);
        explained["not_before_says"] = json!(why);
    }
    if let Some(rule) = destination.map.rule_for(&event.kind) {
        explained["map"] = json!({ "type": rule.pattern, "line": rule.line });
    }
    explained
}

/// Why it would be a dead letter before any request, as far as that can be told without asking the vendor anything.
#[must_use]
pub fn problem(destination: &Destination, event: &Event) -> Option<String> {
    request(destination, event).err().map(|problem| redact::masked(&problem, &destination.map.secrets()))
}

/// The same where there is not even an event.
#[must_use]
pub fn malformed(destination: &Destination, problem: &str) -> Value {
    let mut explained = json!({ "problem": problem });
    name(&mut explained, destination);
    explained
}

fn name(explained: &mut Value, destination: &Destination) {
    explained["destination"] = json!(destination.name);
    explained["vendor"] = json!(destination.vendor_name);
}

/// What stands for those whom it is about, where some people must not be written to: who that is says the broker.
fn people(destination: &Destination, event: &Event) -> Result<Option<Vec<Digest>>, String> {
    let Some((person, key)) = destination.person.as_ref().zip(destination.person_key.as_ref()) else { return Ok(None) };
    let mapped = destination.map.apply(event).ok().flatten();
    let people = person.of(event, mapped.as_ref()).map_err(|error| error.to_string())?;
    Ok(Some(people.iter().filter_map(|person| key.digest(person)).collect()))
}

fn request(destination: &Destination, event: &Event) -> Result<Request<Bytes>, String> {
    people(destination, event)?;
    let (expiry, wall) = (Expiry::of(event, destination.max_event_age), clock::wall());
    let too_old = |expiry: Expiry| {
        let late = waits(destination, event, wall).and_then(|(at, _)| expiry.before(at));
        expiry.too_old(wall).or(late)
    };
    if let Some(sentence) = too_far(event, wall).or_else(|| expiry.and_then(too_old)) {
        return Err(sentence);
    }
    let mapped = destination.map.apply(event).map_err(|error| error.to_string())?;
    let event = mapped.as_ref().unwrap_or(event);
    destination.vendor.request_for(event, &Facts::blind()).map_err(|refusal| refusal.to_string())
}

/// When it would be sent at the earliest, and why, where that is not at once.
fn waits(destination: &Destination, event: &Event, wall: Timestamp) -> Option<(Timestamp, String)> {
    let due = event.not_before.map_or(wall, |at| at.timestamp().max(wall));
    let opens = destination.next_open(due);
    let hours = destination.send_between.as_ref().filter(|_| opens > due);
    match hours {
        Some(hours) => Some((opens, format!("send_between is {hours}"))),
        None => (due > wall).then(|| (due, "its deliverafter".to_owned())),
    }
}

fn requested(request: &Request<Bytes>, event: &Event, destination: &Destination) -> Value {
    let mut headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            let shown = if value.is_sensitive() { "***".into() } else { String::from_utf8_lossy(value.as_bytes()) };
            (name.as_str().to_owned(), json!(shown))
        })
        .collect();
    if destination.vendor.grant().is_some() {
        headers.insert("authorization".to_owned(), json!("Bearer ***"));
    }
    // As the worker adds them.
    if let Some(trace) = &event.trace {
        headers.insert("traceparent".to_owned(), json!(trace.parent));
        headers.extend(trace.state.iter().map(|state| ("tracestate".to_owned(), json!(state))));
    }
    let secrets: Vec<&str> = secrets_of(request).into_iter().chain(destination.map.secrets()).collect();
    let encoded: Vec<String> = destination.map.secrets().into_iter().flat_map(encoded).collect();
    let in_address: Vec<&str> =
        destination.map.secrets().into_iter().chain(encoded.iter().map(String::as_str)).collect();
    let text = String::from_utf8_lossy(request.body());
    let body = serde_json::from_str::<Value>(&text).unwrap_or_else(|_| json!(text));
    let in_text: Vec<String> = secrets.iter().map(|secret| event::escaped(secret)).collect();
    let in_text: Vec<&str> = secrets.iter().copied().chain(in_text.iter().map(String::as_str)).collect();
    json!({
        "method": request.method().as_str(),
        "url": without(json!(address(request)), &in_address),
        "headers": without(Value::Object(headers), &in_address),
        "body": without(body, &secrets),
        "body_text": without(json!(text), &in_text),
    })
}

/// A secret as it may stand in an address.
fn encoded(secret: &str) -> [String; 2] {
    let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    [form.replace('+', "%20"), form]
}

/// A value with each of `secrets` masked in its texts.
fn without(value: Value, secrets: &[&str]) -> Value {
    match value {
        Value::String(text) => {
            let masked = secrets
                .iter()
                .filter(|secret| !secret.is_empty())
                .fold(text, |text, secret| text.replace(secret, "***"));
            Value::from(masked)
        }
        Value::Array(items) => items.into_iter().map(|item| without(item, secrets)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, without(value, secrets))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

/// The address, of a secret one only where it leads.
fn address(request: &Request<Bytes>) -> String {
    let uri = request.uri();
    if request.extensions().get::<SecretAddress>().is_none() {
        return uri.to_string();
    }
    format!("{}://{}/***", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or("***"))
}

/// The same as text, for a person.
#[must_use]
pub fn shown(explained: &Value) -> String {
    let text = |key: &str| explained.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut shown = format!("\n{} ({})\n", text("destination"), text("vendor"));
    if let Some(rule) = explained.get("map") {
        let pattern = rule.get("type").and_then(Value::as_str).unwrap_or_default();
        shown += &format!("  mapped by the rule for {pattern:?} (line {})\n", rule.get("line").unwrap_or(&Value::Null));
    }
    for digest in explained.get("people").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        shown += &format!("  about {digest}; not sent if `sluice suppress list` has that person\n");
    }
    if explained.get("problem").is_some() {
        return format!("{shown}  problem: {}", text("problem").replace('\n', "\n  "));
    }
    if let Some(at) = explained.get("not_before").and_then(Value::as_str) {
        shown += &format!("  not sent before {at}: {}\n", text("not_before_says"));
    }
    shown += &format!("  {} {}\n", text("method"), text("url"));
    for (name, value) in explained.get("headers").and_then(Value::as_object).into_iter().flatten() {
        shown += &format!("  {name}: {}\n", value.as_str().unwrap_or_default());
    }
    // As it is sent, not laid out: a person may look for a digit or a space in it.
    shown + "\n  " + &text("body_text").replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::event::{Context, decode};
    use crate::message::{Field, Message, Properties};

    fn destination(lines: &str) -> Destination {
        let text = format!(
            "[broker]\nurl = \"amqp://localhost\"\n[destinations.d]\nsubscribe = [\"#\"]\nlimits = [\"10/s\"]\n{lines}"
        );
        let environment = |name: &str| (name == "KEY").then(|| "quo\"te-\\secret".to_owned());
        let config = config::parse("test.toml", &text, &environment, &|_| Err(std::io::ErrorKind::NotFound.into()));
        let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
        config.destinations.remove("d").unwrap()
    }

    fn explained(lines: &str, data: &str) -> Value {
        let mut message = Message { body: data.to_owned().into(), properties: Properties::default() };
        message.properties.message_id = Some("e-1".into());
        let parent = Field::text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        message.properties.headers.insert("traceparent".into(), parent);
        let context =
            Context { routing_key: "k", received: jiff::Timestamp::constant(1_700_000_000, 0), max_bytes: 1 << 20 };
        explain(&destination(lines), &decode(&message, context).unwrap())
    }

    const HOOK: &str = "vendor = \"http\"\nurl = \"https://h.example\"\n";

    #[test]
    fn the_body_is_shown_byte_for_byte() {
        let data = r#"{ "n": 9223372036854775808123, "p": 1.10, "a": 1, "a": 2, "e": "\u00e9",
  "z": 1e2, "b": [ ] }"#;
        let explained = explained(HOOK, data);
        assert_eq!(explained["body_text"], data);
        assert!(shown(&explained).ends_with(&data.replace('\n', "\n  ")));
        assert_eq!(explained["headers"]["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    }

    #[test]
    fn what_is_no_event_is_shown_under_its_destinations_name() {
        let shown = shown(&malformed(&destination(HOOK), "not an event: the body is empty"));
        assert_eq!(shown, "\nd (http)\n  problem: not an event: the body is empty");
    }

    #[test]
    fn a_request_is_shown_with_the_digests_of_those_it_is_about() {
        let mut destination = destination(&format!("{HOOK}person = {{ jq = \".who\" }}"));
        destination.person_key = Some(crate::person::PersonKey::new("key"));
        let digest = destination.person_key.as_ref().unwrap().digest("ann@example.com").unwrap().to_string();
        let event = |data: &str| {
            let message = Message { body: data.to_owned().into(), properties: Properties::default() };
            decode(&message, Context { routing_key: "k", received: jiff::Timestamp::UNIX_EPOCH, max_bytes: 1 << 20 })
        };
        let explained = explain(&destination, &event(r#"{"who":"Ann@example.com"}"#).unwrap());
        assert_eq!(explained["people"], json!([digest]));
        assert!(shown(&explained).contains(&format!("about {digest}")));
        let explained = explain(&destination, &event(r#"{"who":{}}"#).unwrap());
        assert!(explained["problem"].as_str().unwrap().contains("whom it is about"), "{explained}");
    }

    #[test]
    fn a_body_that_is_a_json_string_has_its_quotes() {
        let explained = explained(&format!("{HOOK}body = {{ jq = \".a\" }}\n"), r#"{"a":"x \"y\""}"#);
        assert_eq!((&explained["body_text"], &explained["body"]), (&json!(r#""x \"y\"""#), &json!("x \"y\"")));
        assert!(shown(&explained).ends_with(r#""x \"y\"""#));
    }

    #[test]
    fn digits_go_to_a_vendor_as_they_came() {
        let px = "vendor = \"gainsight-px\"\napi_key = \"key-1\"\nproperty_key = \"AP-XXXXXXXXXX-2\"\n";
        let attributes = r#"{"a":9223372036854775808123,"b":1.10,"c":0.1234567890123456789,"d":-0.0}"#;
        let nested = r#""[18446744073709551616,1.10]""#;
        let data = format!(r#"{{"identifyId":"u","eventName":"n","attributes":{attributes}}}"#);
        let explained = explained(px, &data);
        let text = explained["body_text"].as_str().unwrap_or_else(|| panic!("{explained}"));
        assert!(text.contains(&format!(r#""attributes":{attributes}"#)), "{text}");
        let attributes = r#"{"a":1E2,"b":1e2,"c":1.50E-07,"d":-1e+2,"e":0E0,"f":1.10,"g":"1E2"}"#;
        let data = format!(r#"{{"identifyId":"u","eventName":"n","attributes":{attributes}}}"#);
        let text = self::explained(px, &data)["body_text"].to_string().replace("\\\"", "\"");
        assert!(text.contains(&format!(r#""attributes":{attributes}"#)), "{text}");
        let data = r#"{"identifyId":"u","eventName":"n","attributes":{"n":[1E2],"o":null}}"#;
        let text = self::explained(px, data)["body_text"].to_string().replace("\\\"", "\"");
        assert!(text.contains(r#""attributes":{"n":"[1E2]"}"#), "{text}");
        let data = r#"{"identifyId":"u","eventName":"n","attributes":{"n":[18446744073709551616,1.10]}}"#;
        let text = self::explained(px, data)["body_text"].to_string();
        assert!(text.contains(&nested.replace('"', "\\\"")), "{text}");
    }

    #[test]
    fn a_secret_is_masked_in_the_body_as_it_is_written_there() {
        let map = "[[destinations.d.map]]\ntype = \"#\"\nbody = { a = { env = \"KEY\" }, b = { jq = \".b\" } }\n";
        let explained = explained(&format!("{HOOK}{map}"), r#"{"b":"c"}"#);
        assert_eq!(explained["body_text"], r#"{"a":"***","b":"c"}"#);
    }
}
