//! The document of this server, as OpenAPI 3.1.

use axum::Json;
use serde_json::{Value, json};

use crate::class::Class;

/// `/openapi.json`.
pub(super) async fn document() -> Json<Value> {
    Json(written())
}

fn written() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice: events over HTTP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "CloudEvents' HTTP binding and plain JSON. See docs/producers.md.",
        },
        "security": [{ "bearer": [] }, {}],
        "paths": {
            "/v1/events": { "post": operation("publish", "Publish events", &json!([class()])) },
            "/v1/events/{token}": {
                "post": operation("publishSigned", "Publish events, signed as Standard Webhooks says", &json!([
                    { "name": "token", "in": "path", "required": true, "schema": { "type": "string" },
                      "description": "The name of a token of [ingest.tokens]" },
                    class(),
                    signature_header("webhook-id", "The id of this message"),
                    signature_header("webhook-timestamp", "Seconds since 1970, within 5 minutes of now"),
                    signature_header("webhook-signature", "v1, and the base64 of HMAC-SHA256 over id.timestamp.body; several with a space between"),
                ])),
            },
        },
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Event": event(), "Result": result(), "Results": results(), "Problem": problem() },
        },
    })
}

fn class() -> Value {
    json!({ "name": "class", "in": "query", "required": false,
            "schema": { "type": "string", "enum": Class::ALL.map(Class::name), "default": Class::Live.name() },
            "description": "bulk: the events of this request may wait behind all live ones" })
}

fn signature_header(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "required": false, "schema": { "type": "string" }, "description": description })
}

fn operation(id: &str, summary: &str, parameters: &Value) -> Value {
    let one = json!({ "schema": { "$ref": "#/components/schemas/Event" } });
    let several = json!({ "schema": { "type": "array", "items": { "$ref": "#/components/schemas/Event" } } });
    let either = json!({ "schema": { "anyOf": [one["schema"], several["schema"], { "type": "object" }] } });
    let refused = |description: &str| {
        let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        json!({ "description": description, "content": { "application/problem+json": schema } })
    };
    let later = |description: &str| {
        let mut response = refused(description);
        response["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" }, "description": "Seconds" } });
        response
    };
    json!({
        "operationId": id,
        "summary": summary,
        "description": "In the binary form the attributes are headers (ce-id, ce-source, ce-type, ce-time, ce-specversion) and the body is the data.",
        "parameters": parameters,
        "requestBody": { "required": true, "content": {
            "application/cloudevents+json": one,
            "application/cloudevents-batch+json": several,
            "application/json": either,
            "application/x-ndjson": { "schema": { "type": "string" } },
        } },
        "responses": {
            "202": { "description": "The broker has confirmed every event",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Results" } } } },
            "400": refused("At least one is not an event, or the body cannot be read; `results` tells which were published all the same"),
            "401": refused("No token or a wrong one, or a signature that is not right"),
            "403": refused("The token may not publish that type or from that source"),
            "408": refused("The body did not come in time"),
            "413": refused("An event or the body is too large, or there are too many events"),
            "415": refused("The content type is none of those"),
            "429": later("The token publishes more than its rate allows"),
            "503": later("The broker takes nothing for now, or did not confirm all of them; `results` tells which it did"),
        },
    })
}

fn event() -> Value {
    json!({
        "type": "object",
        "description": "A CloudEvents 1.0 envelope; see docs/event.schema.json",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string" },
            "source": { "type": "string" },
            "type": { "type": "string" },
            "time": { "type": "string", "format": "date-time" },
            "data": { "type": "object" },
        },
    })
}

fn result() -> Value {
    json!({
        "type": "object",
        "required": ["index", "id", "published"],
        "properties": {
            "index": { "type": "integer", "minimum": 0 },
            "id": { "type": ["string", "null"] },
            "published": { "type": "boolean" },
            "problem": { "type": "string" },
            "field": { "type": "string", "description": "The attribute that the problem is about" },
        },
    })
}

fn results() -> Value {
    let results = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Result" } });
    json!({ "type": "object", "required": ["results"], "properties": { "results": results } })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "results": { "type": "array", "items": { "$ref": "#/components/schemas/Result" } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document = written();
        let text = document.to_string();
        let references: Vec<&str> = text.split("\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 10);
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
