// SPDX-License-Identifier: GPL-3.0-or-later
//! Path functions of scripts, and variables that stand for paths of other platforms.
//!
//! They work on text from outside: nothing may panic, and what they promise about each other holds.

use tablao_jobtypes::paths::{basename, dirname, join, stem};
use tablao_net::variables::{Audience, Resolved, defaults};

use crate::take::Take;

/// Takes the input for paths, for a configuration of variables and for command parameters.
pub fn paths(data: &[u8]) {
    let mut take = Take(data);
    let platform = ["linux", "windows", "darwin", "other"][usize::from(take.byte()) % 4];
    let text = String::from_utf8_lossy(take.0);
    let parts: Vec<&str> = text.split('\n').collect();
    for part in &parts {
        let base = basename(part);
        assert!(!base.is_empty(), "{part:?} has a last component");
        let _ = dirname(part);
        let stem = stem(part);
        assert!(
            base.starts_with(&stem) || stem.is_empty(),
            "{part:?}: {stem:?} of {base:?}"
        );
    }
    let joined = join(&parts);
    // Backslashes become slashes after the path was tidied, as existing scripts expect.
    if !text.contains('\\') {
        assert_eq!(
            join(&[&joined]),
            joined,
            "a joined path stays as it is: {parts:?}"
        );
    }

    let mut variables = defaults();
    // The first line may be a configuration of its own.
    if let Ok(configured) = serde_json::from_str(parts[0]) {
        variables = configured;
    }
    let jobs = parts.get(1).copied().unwrap_or("/jobs");
    for audience in [Audience::Workers, Audience::Users] {
        let resolved = Resolved::new(&variables, jobs, audience, platform);
        for part in &parts {
            let _ = resolved.expand(part);
            let collapsed = resolved.collapse(part);
            let _ = resolved.expand(&collapsed);
        }
        if let Some(Ok(mut parameters)) = parts.get(2).map(|part| serde_json::from_str(part)) {
            resolved.expand_parameters(&mut parameters);
        }
    }
}
