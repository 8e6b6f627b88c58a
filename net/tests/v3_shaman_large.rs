// SPDX-License-Identifier: GPL-3.0-or-later
//! A large upload over a real socket does not pass through the Manager's memory whole.
//!
//! A test binary of its own: it measures the memory of its process, which others would disturb.
//! `TABLAO_SOAK=1` sends 2 GiB instead of 64 MiB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use support::Farm;
use tablao_net::serve;

const MEBIBYTE: u64 = 1 << 20;

/// Peak memory of this process in bytes, where the system tells it.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A megabyte that differs from its neighbours.
fn piece(number: u64) -> Vec<u8> {
    let mut piece = vec![0x5a; 1 << 20];
    piece[..8].copy_from_slice(&number.to_le_bytes());
    piece
}

/// However large a simulation cache is, the Manager beside it keeps its size.
#[test]
fn an_upload_costs_the_manager_little_memory() {
    let soak = std::env::var_os("TABLAO_SOAK").is_some();
    let (mebibytes, growth_max) = if soak { (2048, 64) } else { (64, 32) };
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

    let mut hasher = Sha256::new();
    (0..mebibytes).for_each(|number| hasher.update(piece(number)));
    let digest = hasher.finalize();
    let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
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
    let growth = peak_bytes()
        .zip(before)
        .map(|(after, before)| after - before);
    if cfg!(target_os = "linux") {
        let growth = growth.expect("Linux tells a process its memory");
        assert!(
            growth <= growth_max * MEBIBYTE,
            "{growth} bytes for one upload"
        );
    }
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
