// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that clients send. What the store promises is tested in v3_shaman.rs and beside it;
//! here it is codes and shapes.

use std::{fs, io::Write as _};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    case::{Case, Reply, run},
    ground::{Call, Ground, Grounds},
};

fn checksum(contents: &[u8]) -> String {
    let digest = Sha256::digest(contents);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file<'a>(ground: &'a Ground, operation: &'static str, contents: &[u8]) -> Call<'a> {
    let call = ground.call(operation).at(checksum(contents));
    call.at(contents.len())
}

fn send(on: &Grounds, announced: &[u8], sent: &[u8]) -> Reply {
    let call = file(on.manager(), "shamanFileStore", announced);
    call.body("application/octet-stream", sent).send()
}

fn spec(contents: &[u8], path: &str) -> Value {
    json!({ "sha": checksum(contents), "size": contents.len(), "path": path })
}

fn checkout(on: &Grounds, path: &str, files: &[Value]) -> Reply {
    let body = json!({ "checkoutPath": path, "files": files });
    on.manager().call("shamanCheckout").json(&body).send()
}

fn requirements(on: &Grounds, files: &[Value]) -> Reply {
    let call = on.manager().call("shamanCheckoutRequirements");
    call.json(&json!({ "files": files })).send()
}

/// A file whose place in the store nothing can be read from or written to: where its folders
/// would be, there are links that lead to themselves.
fn unreachable(on: &Grounds) -> &'static [u8] {
    const CONTENTS: &[u8] = b"out of reach";
    let sum = checksum(CONTENTS);
    for part in ["stored", "uploading"] {
        let place = on
            .manager()
            .stored(&format!("file-store/{part}/{}", &sum[..2]));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if place.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(&place, &place).unwrap();
        }
    }
    CONTENTS
}

/// In the order in which they are run.
pub(crate) const CASES: &[Case] = &[
    ("shamanCheckoutRequirements", 200, |on| {
        let reply = requirements(on, &[spec(b"scene", "a.blend"), spec(b"scene", "b.blend")]);
        assert_eq!(reply.json()["files"].as_array().unwrap().len(), 1);
        assert_eq!(reply.json()["files"][0]["status"], "unknown");
        reply
    }),
    ("shamanCheckoutRequirements", 400, |on| {
        requirements(on, &[spec(b"scene", "../a.blend")])
    }),
    ("shamanCheckoutRequirements", 413, |on| {
        on.manager()
            .call("shamanCheckoutRequirements")
            .too_large()
            .send()
    }),
    ("shamanCheckoutRequirements", 503, |on| {
        let call = on.bare().call("shamanCheckoutRequirements");
        call.json(&json!({ "files": [] })).send()
    }),
    ("shamanFileStoreCheck", 200, |on| {
        let status = || file(on.manager(), "shamanFileStoreCheck", b"known").send();
        assert_eq!(status().json()["status"], "unknown");
        send(on, b"known", b"known");
        let reply = status();
        assert_eq!(reply.json()["status"], "stored");
        reply
    }),
    ("shamanFileStoreCheck", 400, |on| {
        on.manager()
            .call("shamanFileStoreCheck")
            .at("12")
            .at(5)
            .send();
        let call = on.manager().call("shamanFileStoreCheck").at(checksum(b""));
        call.at("many").send()
    }),
    ("shamanFileStoreCheck", 503, |on| {
        file(on.bare(), "shamanFileStoreCheck", b"x").send()
    }),
    ("shamanFileStore", 204, |on| send(on, b"scene", b"scene")),
    ("shamanFileStore", 208, |on| send(on, b"scene", b"scene")),
    ("shamanFileStore", 400, |on| {
        let call = file(on.manager(), "shamanFileStore", b"new");
        let call = call.header("X-Shaman-Can-Defer-Upload", "perhaps");
        call.body("application/octet-stream", b"new").send()
    }),
    ("shamanFileStore", 417, |on| {
        assert_eq!(send(on, b"longer", b"long").code, 417);
        send(on, b"right", b"wrong")
    }),
    ("shamanFileStore", 425, |on| {
        // Somebody is in the middle of sending it.
        let path = format!("/api/v3/shaman/files/{}/4", checksum(b"slow"));
        let head = format!("POST {path} HTTP/1.1\r\nHost: farm\r\nContent-Length: 4\r\n\r\nsl");
        let mut other = on.manager().begin(&head);
        let status = || file(on.manager(), "shamanFileStoreCheck", b"slow").send();
        let seen = (0..100_000).any(|_| status().json()["status"] == "uploading");
        assert!(seen, "the other upload is known");
        let call = file(on.manager(), "shamanFileStore", b"slow");
        let call = call.header("X-Shaman-Can-Defer-Upload", "true");
        let reply = call.body("application/octet-stream", b"slow").send();
        other.write_all(b"ow").unwrap();
        reply
    }),
    ("shamanFileStore", 503, |on| {
        let call = file(on.bare(), "shamanFileStore", b"x");
        call.body("application/octet-stream", b"x").send()
    }),
    ("shamanCheckout", 200, |on| {
        let reply = checkout(on, "film/sh010", &[spec(b"scene", "a.blend")]);
        assert_eq!(reply.json(), &json!({ "checkoutPath": "film/sh010" }));
        reply
    }),
    ("shamanCheckout", 400, |on| checkout(on, "../film", &[])),
    ("shamanCheckout", 413, |on| {
        on.manager().call("shamanCheckout").too_large().send()
    }),
    ("shamanCheckout", 424, |on| {
        checkout(on, "film/sh020", &[spec(b"lacking", "a.blend")])
    }),
    ("shamanCheckout", 503, |on| {
        let body = json!({ "checkoutPath": "film", "files": [] });
        on.bare().call("shamanCheckout").json(&body).send()
    }),
    ("shamanCheckoutRequirements", 500, |on| {
        requirements(on, &[spec(unreachable(on), "a")])
    }),
    ("shamanCheckout", 500, |on| {
        checkout(on, "film/sh030", &[spec(unreachable(on), "a.blend")])
    }),
    ("shamanFileStoreCheck", 500, |on| {
        file(on.manager(), "shamanFileStoreCheck", unreachable(on)).send()
    }),
    ("shamanFileStore", 500, |on| {
        let contents = unreachable(on);
        send(on, contents, contents)
    }),
];

/// Asking, sending, laying out.
#[test]
fn shaman_operations() {
    run(CASES);
}
