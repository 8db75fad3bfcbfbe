//! Any other JSON API, without code: method, URL, headers and body by config or by jq, one event a request or an array of
//! several. Without an expression the event's data is the body, as it was written.

use std::time::Duration;

use ::http::header::AUTHORIZATION;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Batching, EarlierAttempts, Facts, Grant, Item, Kind, Refusal, Reply, SecretAddress, Vendor, When, answer};
use crate::event::{Event, Invalid};
use crate::mapping::{Expression, Input, Template};
use crate::section::Section;
use crate::verdict::Verdict;

mod address;
mod grant;
mod header;
mod key;
mod settings;
mod statuses;

use grant::ClientCredentials;
use settings::Settings;

/// The vendor's entry in the registry. It documents no limits, so a destination has to set its own.
pub const KIND: Kind = Kind {
    name: "http",
    limits: &[],
    fields: &["body"],
    // It has no key of its own.
    person: &[],
    check: |_, _| Ok(()),
    configure,
};

fn configure(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    let settings = Settings::read(section)?;
    Some(Box::new(HttpApi { settings }))
}

/// Most bytes of the events in one request, where several travel together.
const BATCH_BYTES: usize = 1024 * 1024;
/// An API that says 409 again so long after a request has not been working on it all the time: it has it.
const WORKED_ON: Duration = Duration::from_mins(1);
/// What a method made by jq may be.
const METHODS: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

#[derive(Debug)]
struct HttpApi {
    settings: Settings,
}

/// Something of a request that is the same for every event, or made of each.
#[derive(Debug)]
enum Made<T, E = Expression> {
    Fixed(T),
    Jq(E),
}

/// What jq made of an event, of all that stands before the body. It is the items' group: events travel together where it is equal.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    headers: Vec<(String, String)>,
}

impl HttpApi {
    /// The part of the request that differs from event to event, checked.
    fn head(&self, input: &Input<'_>) -> Result<Head, Invalid> {
        let mut head = Head::default();
        if let Made::Jq(expression) = &self.settings.method {
            let method = made("method", expression, input)?;
            if !METHODS.iter().any(|known| known.as_str() == method) {
                return Err(Invalid(format!("method is {method:?}; it must be POST, PUT or PATCH")));
            }
            head.method = Some(method);
        }
        if let Made::Jq(pieces) = &self.settings.url {
            let made = pieces.evaluate(input).map_err(|said| Invalid(format!("url cannot be made: {said}")))?;
            let url = address::of(&made.ok_or_else(|| nothing("url"))?);
            head.url = Some(url.map_err(|said| Invalid(format!("url: {said}")))?);
        }
        for (name, expression) in &self.settings.made_headers {
            let what = format!("headers.{name}");
            if let Some(text) = rendered(&what, expression, input)? {
                HeaderValue::from_str(&text)
                    .map_err(|_| Invalid(format!("{what} has a character that a header cannot carry")))?;
                head.headers.push((name.as_str().to_owned(), text));
            }
        }
        Ok(head)
    }

    fn body(&self, event: &Event, input: &Input<'_>) -> Result<Bytes, Invalid> {
        let made = if event.original.is_some() {
            mapped_body(event.data.raw())?
        } else if let Some(expression) = &self.settings.body {
            expression.json(input).map_err(|said| Invalid(format!("body cannot be made: {said}")))?.map(Bytes::from)
        } else {
            return Ok(event.data.raw().clone());
        };
        made.ok_or_else(|| nothing("body"))
    }
}

/// Adds the headers that jq made.
fn fill(headers: &mut HeaderMap, made: &[(String, String)]) -> Result<(), Invalid> {
    for (name, text) in made {
        let broken = |error: &dyn std::fmt::Display| Invalid(format!("headers.{name}: {error}"));
        let name_of = HeaderName::from_bytes(name.as_bytes()).map_err(|error| broken(&error))?;
        let mut value = HeaderValue::from_str(text).map_err(|error| broken(&error))?;
        value.set_sensitive(name_of == AUTHORIZATION);
        headers.insert(name_of, value);
    }
    Ok(())
}

fn made(what: &str, expression: &Expression, input: &Input<'_>) -> Result<String, Invalid> {
    rendered(what, expression, input)?.ok_or_else(|| nothing(what))
}

fn nothing(what: &str) -> Invalid {
    Invalid(format!("{what} is missing: its expression gives nothing for this event"))
}

fn rendered(what: &str, expression: &Expression, input: &Input<'_>) -> Result<Option<String>, Invalid> {
    Template::text_of(expression, input).map_err(|said| Invalid(format!("{what} cannot be made: {said}")))
}

/// The field `body` of what `map` made, as it was written there: digits and the order of keys stay.
fn mapped_body(raw: &Bytes) -> Result<Option<Bytes>, Invalid> {
    #[derive(Deserialize)]
    struct Mapped<'a> {
        #[serde(borrow)]
        body: Option<&'a RawValue>,
    }
    let mapped: Mapped<'_> =
        serde_json::from_slice(raw).map_err(|error| Invalid(format!("body cannot be read as JSON: {error}")))?;
    Ok(mapped.body.map(|body| raw.slice_ref(body.get().as_bytes())))
}

impl Vendor for HttpApi {
    fn prepare(&self, event: &Event, _facts: &Facts) -> Result<Item, Refusal> {
        let input = Input::of(event);
        let group = if self.settings.is_fixed() {
            String::new()
        } else {
            serde_json::to_string(&self.head(&input)?).map_err(|error| Refusal::Invalid(error.to_string()))?
        };
        let body = self.body(event, &input)?;
        // Two events of equal content may be two events: an API that honours the key would drop the second.
        let id = if event.id_derived { "" } else { &event.id };
        Ok(Item { group, content: key::with_id(id, &body), ..Item::default() })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let group = items.first().map_or("", |item| item.group.as_str());
        let head: Head = match group {
            "" => Head::default(),
            group => serde_json::from_str(group).map_err(|error| Invalid(error.to_string()))?,
        };
        let (ids, bodies): (Vec<&[u8]>, Vec<Bytes>) = items.iter().map(|item| key::and_body(&item.content)).unzip();
        let mut request = Request::new(self.content(&bodies));
        *request.method_mut() = match &head.method {
            Some(method) => method.parse().map_err(|_| Invalid(format!("{method:?} is not a method")))?,
            None => self.settings.fixed_method(),
        };
        *request.uri_mut() = match &head.url {
            Some(url) => url.parse().map_err(|error| Invalid(format!("url: {error}")))?,
            None => self.settings.fixed_url(),
        };
        let headers = request.headers_mut();
        headers.clone_from(&self.settings.headers);
        // One that the destination sets itself stays.
        if self.settings.idempotency_key
            && !headers.contains_key(key::HEADER)
            && let Some(value) = key::of(&ids)
        {
            headers.insert(key::HEADER, value);
        }
        fill(headers, &head.headers)?;
        if self.settings.secret_address {
            request.extensions_mut().insert(SecretAddress);
        }
        Ok(request)
    }

    fn judge(&self, reply: &Reply) -> Verdict {
        let settings = &self.settings;
        let of_reply = if settings.secret_address { answer::of_secret_reply } else { answer::of_reply };
        let sentence = || of_reply(&settings.name, reply, &answer::excerpt(&reply.body));
        let listed = |statuses: &[i64]| statuses.contains(&i64::from(reply.status.as_u16()));
        if listed(&settings.statuses.success) {
            Verdict::Delivered
        } else if listed(&settings.statuses.retry) {
            Verdict::Unavailable(sentence())
        } else if listed(&settings.statuses.reject) {
            Verdict::Rejected(sentence())
        } else if reply.status.is_success() && !settings.statuses.success.is_empty() {
            Verdict::Rejected(format!("{}; not in this destination's success statuses", sentence()))
        } else {
            answer::by_status(reply.status, sentence)
        }
    }

    /// A 409 to a key of ours that was sent before, without an answer that we saw, is about that request and not about the event: the API
    /// still works on it (draft-ietf-httpapi-idempotency-key-header, section 2.7), or has it.
    fn judge_after(&self, request: &Request<Bytes>, reply: &Reply, before: &EarlierAttempts) -> Verdict {
        let listed = self.settings.statuses.has(reply.status.as_u16());
        let is_ours = self.settings.batch_max <= 1 && request.headers().contains_key(key::HEADER);
        let Some(passed) = before.unanswered.filter(|_| reply.status == StatusCode::CONFLICT && is_ours && !listed)
        else {
            return self.judge(reply);
        };
        if passed >= WORKED_ON && before.statuses.contains(&StatusCode::CONFLICT.as_u16()) {
            return Verdict::Delivered;
        }
        let said = answer::sentence(&self.settings.name, reply.status, &answer::excerpt(&reply.body));
        Verdict::Unavailable(format!(
            "{said}; an earlier request with the same Idempotency-Key had no answer, and the API still works on it or has it"
        ))
    }

    /// There is no request that any API would take without effect.
    fn credentials_check(&self) -> Option<Request<Bytes>> {
        None
    }

    fn batching(&self) -> Batching {
        match self.settings.batch_max {
            0 | 1 => Batching::ALONE,
            items => Batching { items, bytes: BATCH_BYTES, when: When::Always },
        }
    }

    fn grant(&self) -> Option<&dyn Grant> {
        self.settings.oauth.as_ref().map(|grant: &ClientCredentials| -> &dyn Grant { grant })
    }
}

impl HttpApi {
    /// One event's body as it is; with batching always an array, so that the API sees one shape.
    fn content(&self, bodies: &[Bytes]) -> Bytes {
        if self.settings.batch_max <= 1 {
            return bodies.first().cloned().unwrap_or_default();
        }
        let mut array = BytesMut::with_capacity(bodies.iter().map(|body| body.len() + 1).sum::<usize>() + 1);
        for (at, body) in bodies.iter().enumerate() {
            array.put_u8(if at == 0 { b'[' } else { b',' });
            array.put_slice(body);
        }
        array.put_u8(b']');
        array.freeze()
    }
}

#[cfg(test)]
mod tests;
