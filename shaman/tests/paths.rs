// SPDX-License-Identifier: GPL-3.0-or-later
//! Paths that clients send: whatever is accepted stays inside, whatever could leave is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Component, Path};

use proptest::prelude::*;
use tablao_shaman::{CheckoutPath, Error, FilePath};

/// Neither field may take any of these, on any platform: a Manager moves between them.
const HOSTILE: &[&str] = &[
    "",
    "/",
    "/etc/passwd",
    "//server/share",
    ".",
    "..",
    "../x",
    "a/..",
    "a/../../x",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "\\\\server\\share",
    "..\\x",
    "a\\b",
    "C:",
    "C:x",
    "c:/x",
    "a/D:/x",
    "a\0b",
    "a\nb",
    "a\tb",
    "\u{7f}",
];

/// Windows takes these for something else than they read.
const DEVICES: &[&str] = &[
    "con",
    "CON",
    "nul",
    "Aux.txt",
    "prn.tar.gz",
    "com1",
    "COM9.log",
    "lpt1",
    "com¹",
    "a/NUL/b",
    "conin$",
    "CONOUT$",
    "nul .txt",
];

/// Names of every kind that must go through unchanged.
const GOOD: &[&str] = &[
    "scene.blend",
    "textures/Tür auf.png",
    "текстуры/дерево.png",
    "木/テクスチャ.png",
    "خشب/لون.exr",
    "שלום/צבע.exr",
    "e\u{301}te\u{301}.png", // accents as marks of their own
    "🎬/🎨.png",
    "....hidden/..well",
    ".hidden",
    "a..b/c..",
    "console/auxiliary/com10/lptx",
    "-rf",
    "$HOME/`x`/%PATH%",
    "Z",
];

/// The tables of hostile and good paths hold for files and checkouts alike.
#[test]
fn hostile_paths_are_refused_in_every_field() {
    for given in HOSTILE.iter().chain(DEVICES) {
        assert!(FilePath::parse(given).is_err(), "file {given:?}");
        assert!(
            CheckoutPath::requested(given).is_err(),
            "requested {given:?}"
        );
    }
    for given in HOSTILE {
        assert!(CheckoutPath::existing(given).is_err(), "existing {given:?}");
    }
    let long_name = "x".repeat(256);
    let long_path = ["x".repeat(200).as_str(); 11].join("/");
    for given in [long_name, long_path, "é".repeat(128)] {
        assert!(FilePath::parse(&given).is_err());
        assert!(CheckoutPath::requested(&given).is_err());
        assert!(CheckoutPath::existing(&given).is_err());
        let Err(Error::Path { given: shown, .. }) = FilePath::parse(&given) else {
            panic!("refused for its path");
        };
        assert!(shown.len() <= 600, "a message stays readable");
    }
    for name in ["file ", "file.", "a. /b", "..."] {
        assert!(FilePath::parse(name).is_err(), "{name:?}");
    }
}

/// Artists name files in their own languages.
#[test]
fn names_in_any_script_are_taken_as_they_are() {
    for given in GOOD.iter().filter(|given| !given.ends_with('.')) {
        assert_eq!(FilePath::parse(given).unwrap().as_str(), *given);
        assert_eq!(CheckoutPath::requested(given).unwrap().as_str(), *given);
        assert_eq!(CheckoutPath::existing(given).unwrap().as_str(), *given);
    }
    assert!(FilePath::parse(&"x".repeat(255)).is_ok());
}

/// A requested checkout is often a job's name: its ends are trimmed, its signs are Flamenco's.
#[test]
fn requested_checkouts_follow_the_rules_of_flamenco() {
    for (given, taken) in [
        ("shot 1 / take 2.", "shot 1/ take 2"),
        ("a.../b", "a/b"),
        ("sintel/03", "sintel/03"),
    ] {
        assert_eq!(CheckoutPath::requested(given).unwrap().as_str(), taken);
    }
    for sign in ['?', '*', ':', ';', '{', '}'] {
        assert!(CheckoutPath::requested(&format!("ab{sign}c")).is_err());
    }
    for given in [
        "...",
        "a/ /b",
        "a/. .",
        ".tablao-checkout-x",
        "a/.tablao-/b",
    ] {
        assert!(CheckoutPath::requested(given).is_err(), "{given}");
    }
    assert!(CheckoutPath::existing(".tablao-erased-x").is_err());
}

/// Deleting a job asks whether another job's checkout lies inside; names must not run together.
#[test]
fn a_checkout_contains_what_is_below_it_only() {
    let path = |text| CheckoutPath::existing(text).unwrap();
    assert!(path("a").contains(&path("a")));
    assert!(path("a").contains(&path("a/b")));
    assert!(!path("a").contains(&path("ab")));
    assert!(!path("a/b").contains(&path("a")));
}

fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => Just("/".to_owned()),
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just("\\".to_owned()),
        1 => Just("C:".to_owned()),
        1 => Just("\0".to_owned()),
        1 => Just(" ".to_owned()),
        1 => Just("NUL".to_owned()),
        3 => "[a-z]{1,3}",
        2 => "\\PC{1,4}",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// As each platform would read it, the path only goes down.
fn only_goes_down(path: &str) -> bool {
    let native = Path::new(path)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    let windows = path.split(['/', '\\']).all(|name| {
        let trimmed = name.trim_end_matches(['.', ' ']);
        !name.is_empty() && (!trimmed.is_empty() || !name.starts_with('.')) && !name.contains('\0')
    });
    let drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    native && windows && !path.contains('\\') && !drive
}

proptest! {
    /// No text whatsoever leads out of the folder it is joined to.
    #[test]
    fn what_is_accepted_stays_inside(given in awkward()) {
        if let Ok(path) = FilePath::parse(&given) {
            prop_assert_eq!(path.as_str(), given.as_str());
            prop_assert!(only_goes_down(path.as_str()), "file {:?}", given);
        }
        if let Ok(path) = CheckoutPath::requested(&given) {
            prop_assert!(only_goes_down(path.as_str()), "requested {:?}", given);
            let again = CheckoutPath::requested(path.as_str()).unwrap();
            prop_assert_eq!(&again, &path, "trimming once is enough");
            prop_assert!(CheckoutPath::existing(path.as_str()).is_ok(), "it can be erased");
        }
        if let Ok(path) = CheckoutPath::existing(&given) {
            let native = Path::new(path.as_str()).components();
            prop_assert!(native.into_iter().all(|part| matches!(part, Component::Normal(_))));
        }
    }

    /// Names without anything special are never refused.
    #[test]
    fn plain_names_are_accepted(names in prop::collection::vec("[a-z0-9_-]{4,20}[xyz]", 1..6)) {
        let path = names.join("/");
        prop_assert!(FilePath::parse(&path).is_ok());
        prop_assert!(CheckoutPath::requested(&path).is_ok());
    }
}
