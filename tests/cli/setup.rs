// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao setup` and `tablao config`: a first start without configuration becomes a working farm
//! from a terminal, and a configuration is looked over before it is used.

use std::{
    fs,
    io::{Seek as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::harness::{Farm, Run, run, tablao, wait_for};

fn setup(data: &Path, more: &[&str]) -> Run {
    let mut command = tablao();
    command.args(["setup", "--data"]).arg(data);
    Run::of(command.args(more))
}

fn check(data: &Path, more: &[&str]) -> Run {
    let mut command = tablao();
    command.args(["config", "check", "--data"]).arg(data);
    Run::of(command.args(more))
}

/// The file that is printed is one that can be used, and says so.
#[test]
fn the_default_file_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let told = run(&["config", "default"]).ended(0).out;
    assert!(told.contains("# Name of this farm"), "{told}");
    fs::write(folder.path().join("tablao.toml"), &told).unwrap();
    let found = check(folder.path(), &["--json"]).ended(0).json();
    assert_eq!(
        (&found["errors"], &found["warnings"]),
        (&json!(0), &json!(1)),
        "{found}"
    );
    assert_eq!(found["findings"][0]["key"], "shared_storage_path");
    check(folder.path(), &["--strict"]).ended(1);
}

/// Every kind of mistake is found before the farm meets it: what cannot be used ends with 1.
#[test]
fn mistakes_are_found_and_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tablao.toml");
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    let storage = format!("shared_storage_path = {:?}\n", share.to_str().unwrap());
    let two_way = |name: &str, linux: &str, windows: &str| {
        format!(
            "[variables.{name}]\nis_twoway = true\nvalues = [{{ platform = \"linux\", value = \
             {linux:?} }}, {{ platform = \"windows\", value = {windows:?} }}]\n"
        )
    };
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let told = |text: &str, code: i32| {
        fs::write(&file, text).unwrap();
        let mut command = tablao();
        command
            .args(["config", "check", "--data"])
            .arg(&data)
            .arg("--file")
            .arg(&file);
        Run::of(&mut command).ended(code).out
    };
    assert!(told(&storage, 0).contains("in order"));
    assert!(told("shared_storage_path = \"/nowhere/at/all\"", 1).contains("no such folder"));
    assert!(
        told("[rules]\nleese_s = 3", 1)
            .contains("line 2, rules.leese_s: there is no such key; is rules.lease_s meant?")
    );
    let same = storage.clone() + &two_way("a", "/x", "X:\\") + &two_way("b", "/X/", "Y:\\");
    assert!(told(&same, 1).contains("variables.b: it has the folder"));
    let nested = storage.clone() + &two_way("a", "/x", "X:\\") + &two_way("b", "/x/y", "Y:\\");
    assert!(told(&nested, 0).contains("lies in that of a"));
    let beside = storage.clone() + &two_way("a", "/x", "X:\\") + &two_way("b", "/x2", "X:\\2");
    assert!(
        told(&beside, 0).contains("lies in that of a"),
        "X:\\2 lies in X:\\"
    );
    let lone = storage
        + "[variables.a]\nis_twoway = true\nvalues = [{ platform = \"linux\", value = \"/x\" }]\n";
    assert!(told(&lone, 0).contains("one platform only"));
    assert!(told("[variables.a]\nvalues = [{ audience = \"worker\", platform = \"linux\", value = \"x\" }]", 1).contains("no audience"));
    run(&["config", "check", "--file", "/no/such/file"]).ended(2);
}

/// Without a terminal nothing is asked: what is missing is named, and nothing half is written.
#[test]
fn setup_without_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (data, share) = (folder.path().join("data"), folder.path().join("share"));
    fs::create_dir(&share).unwrap();
    let storage = share.to_str().unwrap();
    setup(&data, &[]).ended(2).says(&["--storage"]);
    setup(&data, &["--storage", "/nowhere/at/all", "--yes"])
        .ended(1)
        .says(&["no such folder"]);
    setup(&data, &["--storage", storage, "--no-blender"])
        .ended(2)
        .says(&["--yes"]);
    setup(
        &data,
        &["--storage", storage, "--blender", "/bin/sh", "--yes"],
    )
    .ended(1)
    .says(&["no \"blender\" in it", "--no-blender"]);
    assert!(!data.exists());
    let told = setup(
        &data,
        &["--storage", storage, "--no-blender", "--yes", "--json"],
    );
    assert_eq!(told.ended(0).json()["storage"]["is_usable"], true);
    let text = fs::read_to_string(data.join("tablao.toml")).unwrap();
    assert!(
        text.contains(&format!("shared_storage_path = {storage:?}")),
        "{text}"
    );
    check(&data, &["--strict"]).ended(0);
}

/// On a terminal a person is asked; a wrong answer is told and asked again, nothing is written
/// before the summary has been agreed to.
#[cfg(target_os = "linux")]
#[test]
fn a_person_is_asked_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let share = folder.path().join("share");
    fs::create_dir(&share).unwrap();
    let data = folder.path().join("data");
    // `script` gives the program a terminal, and types what comes in.
    let asked = |answers: &[&str]| {
        let mut typed = tempfile::tempfile().unwrap();
        typed
            .write_all((answers.join("\n") + "\n").as_bytes())
            .unwrap();
        typed.rewind().unwrap();
        let mut command = Command::new("script");
        let program = tablao().get_program().to_str().unwrap().to_owned();
        command
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{program} setup --data {}", data.display()))
            .arg("/dev/null")
            .stdin(typed);
        let told = command.output().unwrap();
        (
            told.status.code(),
            String::from_utf8_lossy(&told.stdout).into_owned(),
        )
    };
    let storage = share.to_str().unwrap();
    let (_, said) = asked(&["/nowhere/at/all", storage, "", "n"]);
    assert!(said.contains("no such folder"), "{said}");
    assert!(said.contains("Which Blender?"), "{said}");
    assert!(!data.join("tablao.toml").exists(), "{said}");
    let (code, said) = asked(&[storage, "", "y"]);
    assert_eq!(code, Some(0), "{said}");
    let text = fs::read_to_string(data.join("tablao.toml")).unwrap();
    assert!(
        text.contains(&format!("shared_storage_path = {storage:?}")),
        "{text}"
    );
}

/// The whole way: a farm that was started without configuration is set up while it runs, sees it
/// without a restart, and runs a job.
#[test]
fn a_running_farm_is_set_up() {
    let farm = Farm::start(1);
    let share = tempfile::tempdir().unwrap();
    let storage = share.path().to_str().unwrap();
    let told = farm.run(&[
        "setup",
        "--url",
        &farm.url,
        "--storage",
        storage,
        "--no-blender",
        "--yes",
        "--json",
    ]);
    assert_eq!(told.ended(0).json()["blender"]["source"], "default");
    farm.submit(&["--wait"]);
    let text = fs::read_to_string(farm.data().join("tablao.toml")).unwrap();
    assert!(
        text.contains(&format!("shared_storage_path = {storage:?}")),
        "{text}"
    );
    check(&farm.data(), &[]).ended(0);
}

/// Services are told to read their configuration again by a signal; the farm goes on meanwhile.
#[cfg(unix)]
#[test]
fn a_hangup_reads_the_configuration_again() {
    let farm = Farm::start(0);
    let events = |kind: &str| {
        let told = farm.look(&["journal", "cat"]).ended(0).out;
        told.matches(kind).count()
    };
    let write = |name: &str| {
        let text = format!("manager_name = \"{name}\"\n");
        fs::write(farm.data().join("tablao.toml"), text).unwrap();
    };
    // Once an edit was noticed it listens to signals, too.
    write("Early");
    wait_for("the first edit to be noted", || {
        (events("ConfigNoted") > 0).then_some(())
    });
    write("Late");
    let signal = std::process::Command::new("kill")
        .args(["-HUP", &farm.pid().to_string()])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(signal.success());
    wait_for("the new configuration to be noted", || {
        (events("ConfigNoted") > 1).then_some(())
    });
    let log = farm.data().with_file_name("log");
    wait_for("the log to say so", || {
        let text = fs::read_to_string(&log).unwrap();
        text.contains("asked to read the configuration again")
            .then_some(())
    });
}
