// SPDX-License-Identifier: GPL-3.0-or-later
//! The bytes of records: every kind goes there and back, its bytes are pinned by a golden file,
//! and bytes that are not a record of this build say why.
//!
//! `golden/<number>-<name>-v<version>.hex` holds the facts and the detail of the sample in
//! `common/samples.rs`. A file that is missing is written only when `TABLAO_BLESS` is set; one
//! that is there is never overwritten, because an old journal holds those very bytes.

mod common;

use std::{fmt::Write as _, fs, path::PathBuf};

use common::{random::Wishes, samples, seeds::seeds};
use tablao_core::{
    Detail, Event, Request,
    codec::{self, Error},
    kind::{DetailShape, KINDS, Kind},
};

fn golden_file(kind: &Kind) -> PathBuf {
    let name = format!("{:03}-{}-v{}.hex", kind.number, kind.name, kind.version);
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", &name]
        .iter()
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes any text");
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).expect("golden files are hex"))
        .collect()
}

/// The two parts of a golden file.
fn read_golden(kind: &Kind) -> (Vec<u8>, Option<Vec<u8>>) {
    let path = golden_file(kind);
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; TABLAO_BLESS=1 writes it", path.display()));
    let part = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| unhex(line.trim()))
    };
    (
        part("facts ").expect("a golden file has facts"),
        part("detail "),
    )
}

/// Protects history: facts and details of every kind come back as they were written.
#[test]
fn every_kind_goes_there_and_back() {
    for event in samples::events() {
        let kind = event.kind();
        let detail = samples::detail_of(kind.number);
        let (facts, bytes, hash) = codec::encode(&event, &detail);
        let back = Event::decode_facts(kind.number, kind.version, &facts);
        assert_eq!(back.expect("our own bytes decode"), event, "{}", kind.name);
        assert_eq!(
            bytes.is_some(),
            kind.detail != DetailShape::None,
            "{}",
            kind.name
        );
        assert_eq!(hash, codec::detail_hash(bytes.as_deref()));
        if let Some(bytes) = bytes {
            let back = codec::decode_detail(kind.number, &bytes);
            assert_eq!(back.expect("our own bytes decode"), detail, "{}", kind.name);
        }
    }
}

/// Protects released journals: the bytes of every kind are those of the committed file, and
/// the committed bytes decode to the same event.
#[test]
fn every_kind_has_its_golden_bytes() {
    for event in samples::events() {
        let kind = event.kind();
        let detail = samples::detail_of(kind.number);
        let (facts, bytes, _) = codec::encode(&event, &detail);
        let path = golden_file(kind);
        if std::env::var_os("TABLAO_BLESS").is_some() && !path.exists() {
            let mut text = format!("facts {}\n", hex(&facts));
            if let Some(bytes) = &bytes {
                writeln!(text, "detail {}", hex(bytes)).expect("a string takes any text");
            }
            fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("writable");
            fs::write(&path, text).expect("the golden folder can be written");
        }
        let (golden_facts, golden_detail) = read_golden(kind);
        let why = "its shape changed: give it a new version and keep reading this one";
        assert_eq!(hex(&facts), hex(&golden_facts), "{}: {why}", kind.name);
        assert_eq!(bytes, golden_detail, "detail of {}: {why}", kind.name);
        let read = Event::decode_facts(kind.number, kind.version, &golden_facts);
        assert_eq!(read.expect("released bytes decode"), event);
    }
}

/// Protects the pinning: no golden file is left without a kind that reads it.
#[test]
fn every_golden_file_belongs_to_a_kind() {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "golden"]
        .iter()
        .collect();
    let known: Vec<PathBuf> = KINDS.iter().map(golden_file).collect();
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("the golden folder is there") {
        let path = entry.expect("the golden folder can be listed").path();
        assert!(known.contains(&path), "{} pins nothing", path.display());
        seen += 1;
    }
    assert_eq!(seen, KINDS.len());
}

/// Protects readers of newer journals: an unknown number or version says so and names it.
#[test]
fn unknown_kinds_and_versions_are_named() {
    for number in [0, 7, 8, 99, 0x7fff, 0xffff] {
        let error = Event::decode_facts(number, 1, &[]).expect_err("no such kind");
        assert!(matches!(error, Error::UnknownKind { kind } if kind == number));
        assert!(error.to_string().contains(&number.to_string()));
        assert!(matches!(
            codec::decode_detail(number, &[]),
            Err(Error::UnknownKind { .. })
        ));
    }
    for event in samples::events() {
        let kind = event.kind();
        let facts = event.encode_facts();
        for version in [0, kind.version + 1, u8::MAX] {
            let error = Event::decode_facts(kind.number, version, &facts);
            assert!(matches!(
                error.expect_err("no such version"),
                Error::UnknownVersion { kind: number, version: met }
                    if number == kind.number && met == version
            ));
        }
    }
}

/// Protects against half records: bytes too many, and every number of bytes too few, are errors.
#[test]
fn bytes_too_many_or_too_few_are_errors() {
    for event in samples::events() {
        let kind = event.kind();
        let mut facts = event.encode_facts();
        for length in 0..facts.len() {
            let cut = Event::decode_facts(kind.number, kind.version, &facts[..length]);
            assert!(
                matches!(cut, Err(Error::Malformed(_))),
                "{} cut to {length}",
                kind.name
            );
        }
        facts.extend([0, 0]);
        let long = Event::decode_facts(kind.number, kind.version, &facts);
        assert!(matches!(long, Err(Error::Trailing(2))), "{}", kind.name);

        let Some(mut bytes) = codec::encode_detail(&samples::detail_of(kind.number)) else {
            continue;
        };
        let cut = codec::decode_detail(kind.number, &bytes[..bytes.len() - 1]);
        assert!(matches!(cut, Err(Error::Malformed(_))), "{}", kind.name);
        bytes.push(0);
        let long = codec::decode_detail(kind.number, &bytes);
        assert!(matches!(long, Err(Error::Trailing(1))), "{}", kind.name);
    }
}

/// Protects replay from hostile bytes: whatever stands in a record, decoding ends with a value
/// or an error, and a value encodes to a record that decodes to itself.
#[test]
fn any_bytes_end_in_a_value_or_an_error() {
    let mut decoded = 0;
    for event in samples::events() {
        let kind = event.kind();
        let sound = event.encode_facts();
        for position in 0..sound.len().min(80) {
            for value in [0x00, 0x01, 0x7f, 0xfb, 0xfd, 0xff] {
                let mut bytes = sound.clone();
                bytes[position] = value;
                if let Ok(read) = Event::decode_facts(kind.number, kind.version, &bytes) {
                    let again = read.encode_facts();
                    let same = Event::decode_facts(kind.number, kind.version, &again);
                    assert_eq!(same.expect("our own bytes decode"), read);
                    decoded += 1;
                }
            }
        }
    }
    assert!(decoded > 100, "most changed bytes are still a record");
}

/// Protects `replay --check`: requests come back from a decision's details as they were made.
#[test]
fn requests_go_there_and_back() {
    let mut codes = std::collections::BTreeSet::new();
    for seed in seeds(20) {
        let mut wishes = Wishes::new(seed);
        let mut ride = common::Ride::new();
        for _ in 0..150 {
            ride.wait_ms(wishes.pause_ms(&ride.farm, ride.now));
            let request = wishes.next(&ride.farm, ride.now);
            let bytes = codec::encode_request(&request);
            let back: Request = codec::decode_request(&bytes).expect("our own bytes decode");
            assert_eq!(back, request);
            codes.insert(request.code());
            // Refusals are as welcome here as anything else.
            drop(ride.ask(&request));
        }
        for record in &ride.records {
            let Detail::Decision(detail) = &record.detail else {
                continue;
            };
            codec::decode_request(&detail.body).expect("a decision holds its request");
        }
    }
    assert!(codes.len() >= 28, "only {} kinds of request", codes.len());
}
