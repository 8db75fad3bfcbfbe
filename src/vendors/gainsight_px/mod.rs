//! Gainsight PX: one custom event a request, `POST /v1/events/custom` with the key in a header.
//! Source: the vendor's REST API reference, version 0.1.6.

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use bytes::Bytes;

use super::{Account, Facts, Item, Kind, Refusal, Reply, Vendor, answer};
use crate::event::{Event, Invalid};
use crate::section::Section;
use crate::verdict::Verdict;

mod errors;
mod fields;
mod settings;

use settings::Settings;

/// The vendor's entry in the registry.
pub const KIND: Kind = Kind {
    name: "gainsight-px",
    // "around 200 requests per second and 1 Million requests per day"
    limits: &["200/s", "1000000/day"],
    fields: &fields::FIELDS,
    person: &["identifyId", "accountId"],
    check: fields::check,
    configure,
};

fn configure(section: &mut Section<'_>) -> Option<Box<dyn Vendor>> {
    let settings = Settings::read(section)?;
    let json = HeaderValue::from_static("application/json");
    let key = (HeaderName::from_static(KEY_HEADER), settings.api_key.clone());
    let headers = HeaderMap::from_iter([key, (header::CONTENT_TYPE, json.clone()), (header::ACCEPT, json)]);
    Some(Box::new(GainsightPx { settings, headers }))
}

/// The header that carries the API key.
const KEY_HEADER: &str = "x-aptrinsic-api-key";

#[derive(Debug)]
struct GainsightPx {
    settings: Settings,
    /// Of every request.
    headers: HeaderMap,
}

impl GainsightPx {
    fn post(&self, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl Vendor for GainsightPx {
    /// The item is the body.
    fn prepare(&self, event: &Event, _facts: &Facts) -> Result<Item, Refusal> {
        let body = fields::body(event, &self.settings)?;
        Ok(Item { content: Bytes::from(body), ..Item::default() })
    }

    fn request(&self, items: &[&Item]) -> Result<Request<Bytes>, Invalid> {
        let body = items.first().map(|item| item.content.clone()).unwrap_or_default();
        Ok(self.post(body))
    }

    /// 201 alone is success, as in the vendor's own loader: another 2xx did not come from this API.
    fn judge(&self, reply: &Reply) -> Verdict {
        let sentence = || answer::of_reply("Gainsight PX", reply, &errors::message(&reply.body));
        match reply.status {
            StatusCode::CREATED => Verdict::Delivered,
            status if status.is_success() => Verdict::Unavailable(format!("{}; expected 201", sentence())),
            status => answer::by_status(status, sentence),
        }
    }

    fn accounts(&self) -> Vec<Account> {
        let Settings { endpoint, api_key, .. } = &self.settings;
        let id = format!("{endpoint} {}", String::from_utf8_lossy(api_key.as_bytes())).into();
        vec![Account { what: "Gainsight PX api_key", id, exclusive: false }]
    }

    /// An event without any field: 400 with a good key, 401 or 403 with a bad one; it creates nothing.
    fn credentials_check(&self) -> Option<Request<Bytes>> {
        Some(self.post(Bytes::from_static(b"{}")))
    }
}

fn endpoint(base: &str) -> Result<Uri, ::http::uri::InvalidUri> {
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/v1").unwrap_or(base);
    format!("{base}/v1/events/custom").parse()
}

#[cfg(test)]
mod tests;
