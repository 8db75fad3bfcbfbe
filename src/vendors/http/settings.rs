//! An `http` destination's own keys.

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use secrecy::ExposeSecret as _;

use super::grant::ClientCredentials;
use super::statuses::Statuses;
use super::{METHODS, Made, header};
use crate::mapping::{Expression, Pieces, Template};
use crate::section::{SecretTemplate, Section, web_address};

/// Most events in one request.
const MOST_BATCHED: i64 = 10_000;

/// One API: where it is, what a request to it looks like, and what its statuses mean.
#[derive(Debug)]
pub(super) struct Settings {
    /// For sentences: the host, where it is known.
    pub name: String,
    pub method: Made<Method>,
    pub url: Made<Uri, Pieces>,
    /// The address came from the environment or a file.
    pub secret_address: bool,
    /// The headers that are the same for every event,
    pub headers: HeaderMap,
    /// and those that are made of each.
    pub made_headers: Vec<(HeaderName, Expression)>,
    pub body: Option<Expression>,
    pub idempotency_key: bool,
    pub batch_max: usize,
    pub oauth: Option<ClientCredentials>,
    pub statuses: Statuses,
}

impl Settings {
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let method = method(section);
        let url = url(section);
        let secret_address = section.is_referred("url");
        let (mut headers, made_headers) = headers(section);
        let body = section.expression("body");
        let idempotency_key = section.boolean("idempotency_key").unwrap_or(true);
        let batch_max = section.integer("batch_max", 1..=MOST_BATCHED).and_then(|most| usize::try_from(most).ok());
        let oauth = section.optional("oauth", ClientCredentials::read);
        let has = |name| headers.contains_key(&name) || made_headers.iter().any(|(made, _)| *made == name);
        if oauth.is_some() && has(AUTHORIZATION) {
            section.problem("headers", "sets authorization, and oauth sets it too; remove one of them");
        }
        let statuses = Statuses::read(section);
        if !has(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let url = url?;
        let name = match &url {
            Made::Fixed(uri) => uri.host().unwrap_or("the API").to_owned(),
            Made::Jq(_) => "the API".to_owned(),
        };
        let batch_max = batch_max.unwrap_or(1);
        Some(Self {
            name,
            method,
            url,
            secret_address,
            headers,
            made_headers,
            body,
            idempotency_key,
            batch_max,
            oauth,
            statuses,
        })
    }

    /// Whether nothing before the body differs from event to event.
    pub fn is_fixed(&self) -> bool {
        matches!((&self.method, &self.url), (Made::Fixed(_), Made::Fixed(_))) && self.made_headers.is_empty()
    }

    pub fn fixed_method(&self) -> Method {
        match &self.method {
            Made::Fixed(method) => method.clone(),
            Made::Jq(_) => Method::POST,
        }
    }

    pub fn fixed_url(&self) -> Uri {
        match &self.url {
            Made::Fixed(uri) => uri.clone(),
            Made::Jq(_) => Uri::default(),
        }
    }
}

fn method(section: &mut Section<'_>) -> Made<Method> {
    match section.template("method") {
        None => Made::Fixed(Method::POST),
        Some(Template::Jq(expression)) => Made::Jq(expression),
        Some(Template::Text(text)) => match METHODS.into_iter().find(|method| method.as_str() == text) {
            Some(method) => Made::Fixed(method),
            None => {
                let shown = section.shown("method", &text);
                section.problem("method", format!("{shown} is not known; write one of \"POST\", \"PUT\", \"PATCH\""));
                Made::Fixed(Method::POST)
            }
        },
    }
}

fn url(section: &mut Section<'_>) -> Option<Made<Uri, Pieces>> {
    if !section.has("url") {
        section.problem("url", "is missing; write the address to send to: url = \"https://api.example.com/v1/track\"");
    }
    let text = match section.template("url")? {
        Template::Jq(expression) => {
            let pieces = Pieces::of(&expression);
            return pieces.map(Made::Jq).map_err(|said| section.problem("url", said)).ok();
        }
        Template::Text(text) => text,
    };
    let uri = web_address(&text).and_then(|url| url.as_str().parse::<Uri>().map_err(|error| error.to_string()));
    uri.map(Made::Fixed).map_err(|mend| section.problem("url", mend)).ok()
}

fn headers(section: &mut Section<'_>) -> (HeaderMap, Vec<(HeaderName, Expression)>) {
    let (mut headers, mut made) = (HeaderMap::new(), Vec::new());
    let never_http2 = section.is_true("http1_only");
    let mut names = Vec::new();
    let templates = section.table_of_templates("headers", |name| header::mend(name, never_http2, &mut names));
    for (text, template) in templates.unwrap_or_default() {
        let Ok(name) = text.parse::<HeaderName>() else { continue };
        match template {
            SecretTemplate::Jq(_) if name == HOST => {
                section.problem("headers", "makes host of each event, and an event must not choose it; write it out");
            }
            SecretTemplate::Jq(expression) => made.push((name, expression)),
            SecretTemplate::Text(value) => match HeaderValue::from_str(value.expose_secret()) {
                Ok(mut value) => {
                    value.set_sensitive(![CONTENT_TYPE, ACCEPT, USER_AGENT, HOST].contains(&name));
                    headers.insert(name, value);
                }
                Err(_) => section
                    .problem("headers", format!("the value of {text:?} has a character that a header cannot carry")),
            },
        }
    }
    (headers, made)
}
