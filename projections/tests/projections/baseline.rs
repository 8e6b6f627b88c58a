// SPDX-License-Identifier: GPL-3.0-or-later
//! Baselines of every version of the rows, for ever: a checkpoint of another version is thrown
//! away, but a baseline stands for records that are gone.
//!
//! A version that has no file yet is written with TABLAO_BLESS=1; a file once written is never
//! written again. Whoever changes a row keeps a reader of the old one.

use std::path::PathBuf;

use tablao_projections::ReadModel;

use crate::histories;

/// What a file's model has to come to, in its last lines.
fn summary(model: &ReadModel) -> String {
    format!(
        "{} jobs {} workers {} frames {} digest {}",
        model.farm().position(),
        model.jobs().count(),
        model.workers().count(),
        model.frames().count(),
        model.farm().digest(),
    )
}

fn of_history() -> ReadModel {
    let mut model = ReadModel::new();
    for recorded in histories::history(1, 600) {
        model.apply(&recorded);
    }
    model
}

/// Protects studios that retired their oldest records: the next build still opens what is left.
#[test]
fn baselines_of_every_version_open() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let model = of_history();
    let (version, state) = model.to_baseline();
    let own = folder.join(format!("baseline-{version}.bin"));
    if std::env::var_os("TABLAO_BLESS").is_some() && !own.exists() {
        std::fs::create_dir_all(&folder).expect("make the folder");
        std::fs::write(own.with_extension("txt"), summary(&model)).expect("write the summary");
        std::fs::write(&own, &state).expect("write the state");
    }
    assert!(
        own.exists(),
        "rows of version {version} have no golden baseline; TABLAO_BLESS=1 writes it"
    );
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let version = name.and_then(|name| name.strip_prefix("baseline-")?.parse().ok());
        let version = version.expect("a file is named after its version");
        let state = std::fs::read(&path).expect("read it");
        let opened = ReadModel::from_baseline(version, &state)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let expected = std::fs::read_to_string(path.with_extension("txt")).expect("its summary");
        assert_eq!(summary(&opened), expected, "{}", path.display());
        assert_eq!(
            opened.farm().digest(),
            opened.farm().recompute_digest(),
            "{}",
            path.display()
        );
    }
}
