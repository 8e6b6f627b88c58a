// SPDX-License-Identifier: GPL-3.0-or-later
//! Every bench runs, small: so none can rot, and each says what its figures are compared with.
//! Nothing is asserted about the figures themselves but that something was measured.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like one")]

use std::process::Command;

use serde_json::Value;

/// Runs a part small and hands back its report.
fn measure(part: &str) -> Value {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tablao"))
        .args(["bench", part, "--size", "small", "--json", "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "bench {part}: {words}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "bench {part} left {left:?} behind");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Protects the benches from rotting, and readers of `target/bench/*.json` from a changed shape:
/// each part runs to its end, cleans up, and reports machine, dimensions and positive figures.
#[test]
fn every_part_measures_something_when_it_runs_small() {
    for part in tablao_benches::PARTS {
        let report = measure(part.name);
        assert!(report["machine"]["cores"].as_u64() > Some(0), "{report}");
        let dimensions = report["dimensions"].as_object().unwrap();
        assert!(!dimensions.is_empty(), "{}: no dimensions", part.name);
        let results = report["results"].as_array().unwrap();
        assert!(!results.is_empty(), "{}: no results", part.name);
        for figure in results {
            assert!(figure["name"].is_string() && figure["unit"].is_string());
            let value = figure["value"].as_f64().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{figure}");
            assert_eq!(figure["limit"].is_null(), figure["limit_of"].is_null());
        }
        let measured = |figure: &Value| figure["value"].as_f64() > Some(0.0);
        assert!(results.iter().any(measured), "{}: {results:?}", part.name);
    }
}
