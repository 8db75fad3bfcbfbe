//! With the feature `otel`: spans of requests for events, exported in batches by a thread of the SDK's own. What does not fit its queue is
//! dropped: a collector that is away costs no delivery.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan};

use super::{Leg, StartError};
use crate::clock;
use crate::redact;

/// Time for the last spans to be exported when the worker stops.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// Events that a span links to; the SDK keeps no more.
const MOST_LINKS: usize = 128;

/// Set once, when the worker starts.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// An exporter at work: what it still has goes out when it is dropped.
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_WITHIN) {
            tracing::warn!(%error, "the last traces may not have been exported");
        }
    }
}

/// Exports traces from now on, as OpenTelemetry's own environment variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`,
/// `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`): OTLP over HTTP, in protobuf. `service` is the service's name where those give one.
///
/// # Errors
/// [`StartError`] where the variables make no sense.
pub fn start(service: Option<&str>) -> Result<Export, StartError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build();
    let exporter = exporter.map_err(|error| StartError::Exporter(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(service.unwrap_or("sluice").to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    // Only a second start finds one, and the first goes on.
    drop(TRACER.set(provider.tracer("sluice")));
    Ok(Export(provider))
}

/// The spans of a request that is on its way.
#[derive(Debug)]
pub struct Span(Option<Open>);

#[derive(Debug)]
struct Open {
    /// From taking the event to its answer; none for a batch.
    process: Option<SdkSpan>,
    client: SdkSpan,
}

/// Spans for a request to `destination` that carries `events`. One event's spans go on with its trace; those of several begin a trace
/// of their own that links to theirs.
pub fn request<'a>(
    destination: &str,
    request: &Request<Bytes>,
    mut events: impl ExactSizeIterator<Item = Leg<'a>>,
) -> Span {
    let Some(tracer) = TRACER.get() else { return Span(None) };
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let process = (events.len() == 1).then(|| events.next()).flatten().map(|event| process(tracer, destination, event));
    let parent = match &process {
        Some(process) => Context::new().with_remote_span_context(process.span_context().clone()),
        None => Context::new(),
    };
    let links = events.filter_map(|event| event.traceparent.and_then(read)).map(Link::with_context);
    let uri = request.uri();
    let mut attributes = vec![
        KeyValue::new("http.request.method", request.method().to_string()),
        KeyValue::new("server.address", uri.host().unwrap_or_default().to_owned()),
        KeyValue::new("sluice.destination", destination.to_owned()),
        KeyValue::new("messaging.batch.message_count", count),
    ];
    let port = uri.port_u16().or(if uri.scheme_str() == Some("http") { Some(80) } else { Some(443) });
    attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
    let client = tracer
        .span_builder(request.method().to_string())
        .with_kind(SpanKind::Client)
        .with_links(links.take(MOST_LINKS).collect())
        .with_attributes(attributes)
        .start_with_context(tracer, &parent);
    Span(Some(Open { process, client }))
}

fn process(tracer: &SdkTracer, destination: &str, event: Leg<'_>) -> SdkSpan {
    let parent = match event.traceparent.and_then(read) {
        Some(context) => Context::new().with_remote_span_context(context),
        None => Context::new(),
    };
    let (now, wall) = (clock::now(), clock::wall());
    let taken = wall.checked_sub(now.saturating_duration_since(event.taken)).unwrap_or(wall);
    // Producers may use addresses as ids.
    let id = redact::masked(event.id.unwrap_or_default(), &[]);
    tracer
        .span_builder(format!("process {destination}"))
        .with_kind(SpanKind::Consumer)
        .with_start_time(SystemTime::from(taken))
        .with_attributes([
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", destination.to_owned()),
            KeyValue::new("cloudevents.event_id", id),
            KeyValue::new("cloudevents.event_type", redact::masked(event.kind, &[])),
        ])
        .start_with_context(tracer, &parent)
}

impl Span {
    /// Of a request that carries no event.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// What the request carries on. None where nothing is exported.
    #[must_use]
    pub fn traceparent(&self) -> Option<HeaderValue> {
        let context = self.0.as_ref()?.client.span_context();
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        let text = format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags);
        HeaderValue::from_str(&text).ok()
    }

    /// Ends with the answer's status, or with what kept it from coming.
    pub fn end(self, status: Option<StatusCode>, trouble: Option<&str>) {
        let Some(Open { process, mut client }) = self.0 else { return };
        let now = SystemTime::from(clock::wall());
        let failed = match (status, trouble) {
            (Some(status), _) => (status.is_client_error() || status.is_server_error()).then(|| status.to_string()),
            (None, trouble) => Some(trouble.unwrap_or("given up: the worker stops").to_owned()),
        };
        if let Some(status) = status {
            client.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        for mut span in process.into_iter().chain([client]) {
            if let Some(why) = &failed {
                span.set_status(Status::error(why.clone()));
            }
            span.end_with_timestamp(now);
        }
    }
}

/// A `traceparent` header (W3C Trace Context, section 3.2); none where it is not one.
fn read(header: &HeaderValue) -> Option<SpanContext> {
    let mut parts = header.to_str().ok()?.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let more = parts.next().is_some();
    let whole = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    if !whole || version == "ff" || (version == "00" && more) {
        return None;
    }
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanId::from_hex(span).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_w3c_says_and_what_is_none_begins_a_new_trace() {
        let read = |text: &str| HeaderValue::from_str(text).ok().as_ref().and_then(read);
        let context = read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert!(context.is_some_and(|context| context.is_remote() && context.is_sampled()));
        assert!(read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").is_some_and(|it| !it.is_sampled()));
        assert!(read("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some(), "a later version");
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
