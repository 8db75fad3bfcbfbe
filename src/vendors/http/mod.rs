//! Any other JSON API, without code: method, URL and headers by config; the event's data is the body, as it was written.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use secrecy::ExposeSecret;

use super::{Facts, Invalid, Item, Kind, Refusal, Reply, SecretAddress, Vendor, answer};
use crate::config::Section;
use crate::event::Event;
use crate::verdict::Verdict;

/// The vendor's entry in the registry. It documents no limits, so a destination has to set its own.
pub const KIND: Kind = Kind { name: "http", limits: &[], fields: &["body"], configure };

fn configure(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    let api = HttpApi::read(section)?;
    Some(Box::new(api))
}

#[derive(Debug)]
struct HttpApi {
    method: Method,
    uri: Uri,
    /// The address came from the environment or a file.
    secret_address: bool,
    headers: HeaderMap,
    /// Statuses whose meaning the destination sets; the others mean what RFC 9110 says.
    success: Vec<i64>,
    retry: Vec<i64>,
    reject: Vec<i64>,
}

impl HttpApi {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let methods = [("POST", Method::POST), ("PUT", Method::PUT), ("PATCH", Method::PATCH)];
        let choices: Vec<(&str, &Method)> = methods.iter().map(|(name, method)| (*name, method)).collect();
        let method = section.choice("method", &choices).cloned().unwrap_or(Method::POST);
        let url = section.url("url");
        if url.is_none() && !section.failed() {
            section
                .problem("url", "is missing; write the address to send to: url = \"https://api.example.com/v1/track\"");
        }
        let uri = url.and_then(|url| match url.as_str().parse::<Uri>() {
            Ok(uri) => Some(uri),
            Err(error) => {
                section.problem("url", error.to_string());
                None
            }
        });
        let headers = headers(section);
        let mut statuses = |key: &str| section.integers(key, 100..=599).unwrap_or_default();
        let (success, retry, reject) = (statuses("success"), statuses("retry_statuses"), statuses("reject"));
        if let Some(status) = success.iter().find(|s| retry.contains(s) || reject.contains(s)) {
            section.problem("success", format!("{status} is in another list too; a status means one thing"));
        } else if let Some(status) = retry.iter().find(|s| reject.contains(s)) {
            section.problem("retry_statuses", format!("{status} is in reject too; a status means one thing"));
        }
        let secret_address = section.is_referred("url");
        Some(Self { method, uri: uri?, secret_address, headers, success, retry, reject })
    }
}

fn headers(section: &mut Section<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in section.table_of_texts("headers").unwrap_or_default() {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value.expose_secret())) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(
                    name != header::CONTENT_TYPE && name != header::ACCEPT && name != header::USER_AGENT,
                );
                headers.insert(name, value);
            }
            (Err(_), _) => section.problem("headers", format!("{name:?} is not a header name")),
            (_, Err(_)) => {
                section.problem("headers", format!("the value of {name:?} has a character that a header cannot carry"));
            }
        }
    }
    headers
}

impl Vendor for HttpApi {
    fn prepare(&self, event: &Event, _facts: &Facts) -> Result<Item, Refusal> {
        Ok(Item { content: event.raw.clone(), ..Item::default() })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let body = items.first().map(|item| item.content.clone()).unwrap_or_default();
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if self.secret_address {
            request.extensions_mut().insert(SecretAddress);
        }
        Ok(request)
    }

    fn judge(&self, reply: &Reply) -> Verdict {
        let name = self.uri.host().unwrap_or("the API");
        let sentence = || answer::sentence(name, reply.status, &answer::excerpt(&reply.body));
        let listed = |statuses: &[i64]| statuses.contains(&i64::from(reply.status.as_u16()));
        if listed(&self.success) {
            Verdict::Delivered
        } else if listed(&self.retry) {
            Verdict::Unavailable(sentence())
        } else if listed(&self.reject) {
            Verdict::Rejected(sentence())
        } else if reply.status.is_success() && !self.success.is_empty() {
            Verdict::Rejected(format!("{}; not in this destination's success statuses", sentence()))
        } else {
            answer::by_status(reply.status, sentence)
        }
    }

    /// There is no request that any API would take without effect.
    fn credentials_check(&self) -> Option<Request<Bytes>> {
        None
    }
}

#[cfg(test)]
mod tests;
