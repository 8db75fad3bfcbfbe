//! What a destination makes of an event: the exact request, secrets masked, or what is wrong with it. Sends nothing. Pure.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::config::Destination;
use crate::event::Event;
use crate::redact;
use crate::vendors::{Facts, SecretAddress, secrets_of};

/// The request as JSON (`method`, `url`, `headers`, `body`), or a `problem`; with the rule of `map` that made it.
#[must_use]
pub fn explain(destination: &Destination, event: &Event) -> Value {
    let mut explained = match request(destination, event) {
        Ok(request) => requested(&request, destination),
        Err(problem) => json!({ "problem": redact::masked(&problem, &destination.map.secrets()) }),
    };
    explained["destination"] = json!(destination.name);
    explained["vendor"] = json!(destination.vendor_name);
    if let Some(rule) = destination.map.rule_for(&event.kind) {
        explained["map"] = json!({ "type": rule.pattern, "line": rule.line });
    }
    explained
}

fn request(destination: &Destination, event: &Event) -> Result<Request<Bytes>, String> {
    let mapped = destination.map.apply(event).map_err(|error| error.to_string())?;
    let event = mapped.as_ref().unwrap_or(event);
    destination.vendor.request_for(event, &Facts::blind()).map_err(|refusal| refusal.to_string())
}

fn requested(request: &Request<Bytes>, destination: &Destination) -> Value {
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
    let secrets: Vec<&str> = secrets_of(request).into_iter().chain(destination.map.secrets()).collect();
    let encoded: Vec<String> = destination.map.secrets().into_iter().flat_map(encoded).collect();
    let in_address: Vec<&str> =
        destination.map.secrets().into_iter().chain(encoded.iter().map(String::as_str)).collect();
    let body = String::from_utf8_lossy(request.body());
    let body = serde_json::from_str::<Value>(&body).unwrap_or_else(|_| json!(body));
    json!({
        "method": request.method().as_str(),
        "url": without(json!(address(request)), &in_address),
        "headers": without(Value::Object(headers), &in_address),
        "body": without(body, &secrets),
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
    if explained.get("problem").is_some() {
        return format!("{shown}  problem: {}", text("problem").replace('\n', "\n  "));
    }
    shown += &format!("  {} {}\n", text("method"), text("url"));
    for (name, value) in explained.get("headers").and_then(Value::as_object).into_iter().flatten() {
        shown += &format!("  {name}: {}\n", value.as_str().unwrap_or_default());
    }
    let body = match explained.get("body") {
        // As a form: its lines as they are.
        Some(Value::String(text)) => text.clone(),
        Some(body) => serde_json::to_string_pretty(body).unwrap_or_default(),
        None => String::new(),
    };
    shown + "\n  " + &body.replace('\n', "\n  ")
}
