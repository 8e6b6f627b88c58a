// SPDX-License-Identifier: GPL-3.0-or-later
//! The document of this API, OpenAPI 3.0, as `GET /api/v3/openapi3.json` serves it.
//!
//! It is put together from the files in `document/`, one for each area, which say in few words
//! what every operation takes and answers. Flamenco's own names stand for what they stand for
//! there, so that clients generated from its document work here; the descriptions are ours.
//! What a type is called in those files is in `document/words.rs`.

mod page;
mod words;

use std::sync::OnceLock;

use axum::{Json, http::header::CONTENT_TYPE, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toml::Table;

use words::{field, schema, schema_of_word};

/// What every area uses, and then the areas in the order in which people read them.
const FILES: [&str; 8] = [
    include_str!("document/common.toml"),
    include_str!("document/meta.toml"),
    include_str!("document/jobs.toml"),
    include_str!("document/tasks.toml"),
    include_str!("document/worker.toml"),
    include_str!("document/worker_mgt.toml"),
    include_str!("document/shaman.toml"),
    include_str!("document/events.toml"),
];

const INTRODUCTION: &str = "What a Flamenco 3 Manager offers, as Tablao offers it: Flamenco's \
    clients work with it unchanged. Optional fields are left out, never null; objects are open, \
    and unknown fields in them are passed over. Every error is JSON with `code` and `message` \
    (a worker that is not let in gets `message` alone); an empty answer has no content type. \
    A Manager whose journal cannot be written answers nothing more and closes its connections.";

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Area {
    tag: Option<Tag>,
    /// Parts of addresses.
    #[serde(default)]
    places: Table,
    /// Answers that many operations give.
    #[serde(default)]
    answers: Table,
    #[serde(default)]
    operations: Table,
    #[serde(default)]
    schemas: Table,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    is: Option<String>,
}

/// One operation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    /// Method and address.
    call: String,
    does: String,
    /// A worker's credentials are asked for.
    #[serde(default)]
    auth: bool,
    /// Headers that mean something, none of them required.
    #[serde(default)]
    headers: Table,
    /// The body: a type, or content types of a body of bytes, and what it is.
    takes: Option<(String, String)>,
    answers: Table,
}

/// The document. Made once.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(assemble)
}

pub(super) async fn serve() -> Json<&'static Value> {
    Json(document())
}

pub(super) async fn serve_page() -> impl IntoResponse {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| page::page(document()));
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], page.as_str())
}

fn assemble() -> Value {
    let areas = FILES.map(|text| {
        toml::from_str::<Area>(text).expect("the files of the document are checked by its tests")
    });
    let common = &areas[0];
    let (mut paths, mut schemas, mut tags) = (Map::new(), Map::new(), Vec::new());
    for area in &areas {
        let tag = area.tag.as_ref().map_or("", |tag| tag.name.as_str());
        if let Some(is) = area.tag.as_ref().and_then(|tag| tag.is.as_ref()) {
            tags.push(json!({ "name": tag, "description": is }));
        }
        for (id, told) in &area.operations {
            let told = Operation::deserialize(told.clone())
                .expect("the files of the document are checked by its tests");
            let (method, path) = (told.call.split_once(' ')).expect("a call is METHOD ADDRESS");
            let at = (paths.entry(path.to_owned())).or_insert_with(|| json!({}));
            at[method.to_lowercase()] = operation(id, tag, path, &told, common);
        }
        for (name, told) in &area.schemas {
            schemas.insert(name.clone(), schema(told));
        }
    }
    let responses: Map<String, Value> = (common.answers.iter())
        .map(|(name, told)| (name.clone(), answer(told)))
        .collect();
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Flamenco 3 Manager API, by Tablao",
            "version": "1.0.0",
            "description": INTRODUCTION,
            "license": { "name": "GPL-3.0-or-later", "url": "https://www.gnu.org/licenses/gpl-3.0.html" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "responses": responses,
            "schemas": schemas,
            "securitySchemes": {
                "worker_auth": {
                    "type": "http", "scheme": "basic",
                    "description": "The worker's id, and the secret that it registered with.",
                },
            },
        },
    })
}

fn operation(id: &str, tag: &str, path: &str, told: &Operation, common: &Area) -> Value {
    let mut parameters = Vec::new();
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
        let name = name.trim_end_matches('}');
        let place = common.places.get(name).map(field);
        let (schema, _, is) = place.expect("every part of an address is in common.toml");
        parameters.push(json!({
            "name": name, "in": "path", "required": true, "description": is, "schema": schema,
        }));
    }
    for (name, header) in &told.headers {
        let (schema, required, is) = field(header);
        parameters.push(json!({
            "name": name, "in": "header", "required": required, "description": is,
            "schema": schema,
        }));
    }
    let answers: Map<String, Value> = (told.answers.iter())
        .map(|(code, told)| {
            let answer = told.as_str().map_or_else(
                || answer(told),
                |name| json!({ "$ref": format!("#/components/responses/{name}") }),
            );
            (code.clone(), answer)
        })
        .collect();
    let mut body = json!({ "operationId": id, "tags": [tag], "summary": told.does });
    if told.auth {
        body["security"] = json!([{ "worker_auth": [] }]);
    }
    if !parameters.is_empty() {
        body["parameters"] = Value::Array(parameters);
    }
    if let Some((what, is)) = &told.takes {
        body["requestBody"] =
            json!({ "description": is, "required": true, "content": content(what) });
    }
    body["responses"] = Value::Object(answers);
    body
}

fn answer(told: &toml::Value) -> Value {
    let part = |place: usize| {
        (told.get(place).and_then(toml::Value::as_str)).expect("an answer is [what, why]")
    };
    let mut answer = json!({ "description": part(1) });
    if !part(0).is_empty() {
        answer["content"] = content(part(0));
    }
    answer
}

/// JSON of a type, or bytes of one of these content types.
fn content(what: &str) -> Value {
    if !what.contains('/') {
        return json!({ "application/json": { "schema": schema_of_word(what) } });
    }
    let mut content = Map::new();
    for kind in what.split(", ") {
        let schema = if kind.starts_with("text/") {
            json!({ "type": "string" })
        } else {
            json!({ "type": "string", "format": "binary" })
        };
        content.insert(kind.to_owned(), json!({ "schema": schema }));
    }
    Value::Object(content)
}
