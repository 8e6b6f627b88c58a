// SPDX-License-Identifier: GPL-3.0-or-later
//! The document as a page to read, at `/api/v3/swagger-ui/`. One plain HTML text, nothing fetched
//! from elsewhere; it explains and cannot call.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
    code{font-size:.95em}summary{cursor:pointer;padding:.2rem 0}summary b{display:inline-block;min-width:4.5rem}\
    table{border-collapse:collapse;margin:.3rem 0 1rem 1rem}td{padding:.1rem 1rem .1rem 0;vertical-align:top}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}a{color:#8bf}}";

/// The page.
pub(super) fn page(document: &Value) -> String {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let info = &document["info"];
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>\
         <meta name=viewport content='width=device-width'><style>{STYLE}</style>\
         <h1>{title}</h1><p>{}</p><p><a href=/api/v3/openapi3.json>The same for programs</a></p>",
        text(&info["description"]),
        title = text(&info["title"]),
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        let (name, is) = (text(&tag["name"]), text(&tag["description"]));
        let _ = write!(out, "<h2>{name}</h2><p>{is}</p>");
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if operation["tags"][0] == tag["name"] {
                    add(&mut out, document, method, path, operation);
                }
            }
        }
    }
    out.push_str("<h2>Schemas</h2>");
    for (name, schema) in document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let _ = write!(
            out,
            "<details id={name}><summary>{name}</summary><p>{}</p>",
            text(&schema["description"]).replace('\n', "<br>")
        );
        let parts = schema["allOf"]
            .as_array()
            .map_or(std::slice::from_ref(schema), Vec::as_slice);
        out.push_str("<table>");
        for part in parts {
            if let Some(base) = part["$ref"].as_str() {
                let _ = write!(
                    out,
                    "<tr><td>all of <td>{}",
                    kind(&serde_json::json!({ "$ref": base }))
                );
            }
            for (field, schema) in part["properties"].as_object().into_iter().flatten() {
                let needed = part["required"]
                    .as_array()
                    .is_some_and(|names| names.contains(&Value::String(field.clone())));
                let optional = if needed { "" } else { " (optional)" };
                let _ = write!(
                    out,
                    "<tr><td><code>{field}</code>{optional}<td>{}<td>{}",
                    kind(schema),
                    text(&schema["description"])
                );
            }
        }
        out.push_str("</table></details>");
    }
    out.push_str("</html>");
    out
}

fn add(out: &mut String, document: &Value, method: &str, path: &str, operation: &Value) {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let _ = write!(
        out,
        "<details id={id}><summary><b>{}</b> <code>{path}</code></summary><p>{} <code>{id}</code></p><table>",
        method.to_uppercase(),
        text(&operation["summary"]),
        id = text(&operation["operationId"]),
    );
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            "<tr><td><code>{}</code><td>{}<td>{}",
            text(&parameter["name"]),
            kind(&parameter["schema"]),
            text(&parameter["description"])
        );
    }
    let body = &operation["requestBody"];
    if body.is_object() {
        let _ = write!(
            out,
            "<tr><td>body<td>{}<td>{}",
            contents(body),
            text(&body["description"])
        );
    }
    for (code, answer) in operation["responses"].as_object().into_iter().flatten() {
        let answer = answer["$ref"]
            .as_str()
            .and_then(|to| document.pointer(to.trim_start_matches('#')))
            .unwrap_or(answer);
        let _ = write!(
            out,
            "<tr><td>{code}<td>{}<td>{}",
            contents(answer),
            text(&answer["description"])
        );
    }
    out.push_str("</table></details>");
}

/// The types of a body.
fn contents(body: &Value) -> String {
    let mut kinds = Vec::new();
    for (name, content) in body["content"].as_object().into_iter().flatten() {
        kinds.push(if name == "application/json" {
            kind(&content["schema"])
        } else {
            escaped(name)
        });
    }
    kinds.join(", ")
}

fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
        return format!("<a href='#{name}'>{name}</a>");
    }
    if let Some(base) = schema["allOf"].get(0) {
        return kind(base);
    }
    if schema["type"] == "array" {
        return format!("list of {}", kind(&schema["items"]));
    }
    let name = schema["format"].as_str().or(schema["type"].as_str());
    escaped(name.unwrap_or("anything"))
}

/// Text for HTML; what stands between backquotes is code.
fn escaped(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let mut out = String::with_capacity(text.len());
    for (place, part) in text.split('`').enumerate() {
        if place % 2 == 1 {
            let _ = write!(out, "<code>{part}</code>");
        } else {
            out.push_str(part);
        }
    }
    out
}
