// SPDX-License-Identifier: GPL-3.0-or-later
//! How programs start and end, and what they say when they cannot.

use std::net::TcpListener;

use crate::harness::{Farm, Run, run, tablao};

/// A second process on a data directory would write into the first one's journal; whoever tries
/// has to learn which process to stop.
#[test]
fn a_data_directory_in_use_names_its_holder() {
    let farm = Farm::start(0);
    let mut second = tablao();
    second.args(["up", "--listen", "127.0.0.1:0", "--data"]);
    let refused = Run::of(second.arg(farm.data())).ended(1);
    refused.says(&[&format!("process {}", farm.pid()), "--data"]);
}

/// The commonest mistake: another farm is running already.
#[test]
fn an_address_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = tablao();
    command.args(["up", "--listen", &address, "--data"]);
    let refused = Run::of(command.arg(folder.path())).ended(1);
    refused.says(&[&address, "--listen"]);
}

/// The demo relies on it: a farm that was started by a program must not outlive it.
#[test]
fn a_farm_ends_in_order_when_its_standard_input_does() {
    let mut farm = Farm::start(1);
    assert!(farm.stop().success());
    let verified = farm.look(&["journal", "verify", "--json"]).ended(0).json();
    for journal in verified["journals"].as_array().unwrap() {
        assert_eq!(journal["clean"], true, "{journal}");
    }
}

/// Without Blender the demo must say at once what to run, not fail in the middle.
#[test]
fn the_demo_says_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut command = tablao();
    command.args(["demo", "--out"]).arg(&out);
    let refused = Run::of(command.env("PATH", folder.path())).ended(1);
    refused.says(&["blender", "ffmpeg", "ffprobe", "make setup-demo"]);
    assert!(!out.exists(), "nothing was begun");
}

/// Scripts tell wrong usage from failure by the code.
#[test]
fn wrong_usage_ends_with_2() {
    for wrong in [
        &["no-such-command"][..],
        &["up", "--no-such-option"],
        &["jobs", "show", "not-an-id"],
        &[
            "jobs",
            "priority",
            "00000000-0000-4000-8000-000000000000",
            "101",
        ],
        &["jobs", "list", "--url", "https://farm.example"],
        &["submit", "--type", "t", "--set", "no-equals-sign"],
        &["replay", "--at", "yesterday"],
        &["journal", "info", "--data", "no/such/folder"],
    ] {
        let ended = run(wrong).ended(2);
        assert!(!ended.err.is_empty(), "{wrong:?} says nothing");
    }
}

/// Every page of help teaches by an example, and completions know every command.
#[test]
fn help_has_examples_and_completions_are_made() {
    for command in [
        "up",
        "manager",
        "server",
        "worker",
        "completions",
        "demo",
        "submit",
        "jobs",
        "tasks",
        "workers",
        "frames",
        "managers",
        "journal",
        "replay",
    ] {
        let help = run(&[command, "--help"]).ended(0).out;
        assert!(
            help.contains("Example"),
            "`tablao {command} --help` has no example:\n{help}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).ended(0).out;
        assert!(script.contains("submit"), "{shell}");
    }
}
