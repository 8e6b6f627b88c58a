// SPDX-License-Identifier: GPL-3.0-or-later
//! `/upnp/description.xml`: what UPnP's control points show of a Manager. Workers never fetch it.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};

use super::ssdp::{DEVICE, SERVICE};
use crate::node::SharedNode;

/// The route, which answers while discovery is on.
pub(crate) fn router() -> Router<SharedNode> {
    Router::new().route("/upnp/description.xml", get(description))
}

async fn description(State(node): State<SharedNode>) -> Response {
    let in_force = node.in_force();
    if !in_force.config.discovery.enabled || node.site.is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let text = document(&in_force.config.manager_name);
    ([(CONTENT_TYPE, "text/xml; charset=utf-8")], text).into_response()
}

fn document(name: &str) -> String {
    let name = escaped(name);
    let build = env!("CARGO_PKG_VERSION");
    // No manufacturer's address: a studio's own program has none. The element has to be there.
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<root xmlns="urn:schemas-upnp-org:device-1-0">
  <specVersion><major>1</major><minor>0</minor></specVersion>
  <URLBase>/</URLBase>
  <device>
    <deviceType>{SERVICE}</deviceType>
    <friendlyName>{name} (Tablao {build})</friendlyName>
    <manufacturer>Tablao</manufacturer>
    <manufacturerURL></manufacturerURL>
    <modelDescription>Render farm coordinator</modelDescription>
    <modelName>Flamenco</modelName>
    <modelURL></modelURL>
    <UDN>uuid:{DEVICE}</UDN>
    <serviceList></serviceList>
    <presentationURL>/</presentationURL>
  </device>
</root>
"#
    )
}

fn escaped(text: &str) -> String {
    (text.replace('&', "&amp;"))
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name with signs of its own must not break the document.
    #[test]
    fn a_name_is_only_text() {
        let document = document("<R&D>");
        assert!(document.contains("<friendlyName>&lt;R&amp;D&gt; (Tablao "));
        assert!(document.contains("<deviceType>urn:flamenco:manager:0</deviceType>"));
        assert!(document.contains("<UDN>uuid:aa80bc5f-d0af-46b8-8630-23bd7e80ec4d</UDN>"));
    }
}
