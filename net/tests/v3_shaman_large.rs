// SPDX-License-Identifier: GPL-3.0-or-later
//! A large upload over a real socket does not pass through the Manager's memory whole.
//!
//! A test binary of its own: it measures the memory of its process, which others would disturb.
//! It sends 2 GiB; `TABLAO_SOAK=1` sends 5.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../shaman/tests/common/large_file.rs"]
mod large_file;
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use large_file::{MEBIBYTE, assert_small_growth, digest, peak_bytes, piece};
use support::Farm;
use tablao_net::serve;

/// However large a simulation cache is, the Manager beside it keeps its size.
#[test]
fn an_upload_costs_the_manager_little_memory() {
    let soak = std::env::var_os("TABLAO_SOAK").is_some();
    let mebibytes = if soak { 5 * 1024 } else { 2 * 1024 };
    let storage = tempfile::tempdir().unwrap();
    let config = format!(
        "shared_storage_path = {:?}\n[shaman]\nenabled = true\n",
        storage.path()
    );
    let farm = Farm::with_config(&config);
    let listener = farm.runtime.block_on(serve::listen("127.0.0.1:0")).unwrap();
    let server = listener.local_addr().unwrap();
    let serving = serve::serve(Arc::clone(&farm.node), listener, std::future::pending());
    let serving = farm.runtime.spawn(serving);

    let checksum: String = digest(mebibytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let bytes = mebibytes * MEBIBYTE;
    let address = format!("/api/v3/shaman/files/{checksum}/{bytes}");
    let before = peak_bytes();
    let mut client = TcpStream::connect(server).unwrap();
    let head = format!(
        "POST {address} HTTP/1.1\r\nHost: farm\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    (0..mebibytes).for_each(|number| client.write_all(&piece(number)).unwrap());
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert_small_growth(before, 64);
    assert_eq!(farm.read(&address)["status"], "stored");

    // A client that breaks off half-way, on a real connection: what it sent does not stay.
    let address = address.replace(&checksum, &"0".repeat(64));
    let mut client = TcpStream::connect(server).unwrap();
    let head = head.replace(&checksum, &"0".repeat(64));
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&piece(0)).unwrap();
    while farm.read(&address)["status"] != "uploading" {
        std::thread::yield_now();
    }
    drop(client);
    while farm.read(&address)["status"] != "unknown" {
        std::thread::yield_now();
    }
    let parts = fs::read_dir(storage.path().join("file-store/uploading"));
    assert_eq!(parts.map_or(0, Iterator::count), 0);
    serving.abort();
}
