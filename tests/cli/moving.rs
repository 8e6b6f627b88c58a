// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs the commands of docs/moving-from-flamenco.md as they stand there, in their order.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    flamenco,
    harness::{Run, tablao},
};

/// The lines of the page's shell blocks.
fn commands() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/moving-from-flamenco.md");
    let page = fs::read_to_string(page).unwrap();
    let mut inside = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

/// `sh` in a folder, with our program on its path.
fn shell(folder: &Path, line: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tablao")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(program.to_owned()).chain(std::env::split_paths(&path));
    let mut command = Command::new("sh");
    // The shell becomes the program, so that ending it ends the program.
    let words = if line.starts_with("tablao ") {
        format!("exec {line}")
    } else {
        line.to_owned()
    };
    command
        .args(["-c", &words])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(all).unwrap())
        .env_remove("TABLAO_URL")
        .stdin(Stdio::null());
    command
}

struct Manager(Child);

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A page that a studio follows step by step must not lead it astray.
#[cfg(unix)]
#[test]
fn the_page_about_moving_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("storage");
    fs::create_dir(&storage).unwrap();
    flamenco::make(folder.path(), &storage);
    fs::create_dir(folder.path().join("scripts")).unwrap();
    let script = "const JOB_TYPE = { label: 'Ours', settings: [] };\nfunction compileJob(job) {}\n";
    fs::write(folder.path().join("scripts/our-own.js"), script).unwrap();
    let commands = commands();
    assert!(commands.len() >= 7, "{commands:?}");
    let mut manager: Option<(Manager, String)> = None;
    let mut told = Vec::new();
    for line in &commands {
        let mut command = shell(folder.path(), line);
        if line.starts_with("tablao manager") {
            let log = fs::File::create(folder.path().join("log")).unwrap();
            let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
            let mut said = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut said)
                .unwrap();
            let url = said
                .split_whitespace()
                .find(|word| word.starts_with("http://"));
            let url = url.unwrap_or_else(|| panic!("{line}: {said}")).to_owned();
            manager = Some((Manager(child), url));
            continue;
        }
        if let Some((_, url)) = &manager {
            command.env("TABLAO_URL", url);
        }
        told.push(Run::of(&mut command).ended(0).out);
    }
    let all = told.join("\n");
    for words in ["7 jobs with 20 tasks", "is in order", "alpha", "job 7"] {
        assert!(all.contains(words), "{words:?} is not in {all}");
    }
    let (_running, url) = manager.expect("the page starts a Manager");
    let mut types = tablao();
    types
        .env("TABLAO_URL", url)
        .args(["submit", "--type", "our-own"]);
    Run::of(&mut types).ended(0);
}
