// SPDX-License-Identifier: GPL-3.0-or-later
//! The same checks at a person's wish, before there is any task: `tablao doctor`.

use std::path::Path;

use jiff::Timestamp;

use super::subjects::Subject;
use super::{HealthLimits, checks, clock, programs};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// What.
    pub name: String,
    /// How it is, or what is wrong and what to do.
    pub text: String,
    /// Nothing is wrong.
    pub is_well: bool,
}

impl Examined {
    fn of(name: &str, found: Option<crate::wire::Finding>, well: impl FnOnce() -> String) -> Self {
        Self {
            name: name.to_owned(),
            is_well: found.is_none(),
            text: found.map_or_else(well, |finding| finding.words),
        }
    }
}

/// Looks at this machine as a Worker would: its disks, the shared storage, Blender, FFmpeg, and
/// its clock where the Manager's is known.
pub async fn examine(
    data: &Path,
    storage: Option<&Path>,
    blender: &str,
    manager_clock: Option<Timestamp>,
    limits: &HealthLimits,
) -> Vec<Examined> {
    let mut all = Vec::new();
    let folders = std::iter::once(("data directory", data));
    for (name, folder) in folders.chain(storage.map(|storage| ("shared storage", storage))) {
        let subjects = [Subject::Output(folder.to_owned())].into();
        let mut found = checks::look(subjects, None, limits.free_bytes_min).await;
        let free = fs4::available_space(checks::nearest(folder)).map_or(0, |free| free >> 20);
        let well = || format!("{} can be written, {free} MiB free", folder.display());
        let first = (!found.is_empty()).then(|| found.remove(0));
        all.push(Examined::of(name, first, well));
    }
    if let Some(theirs) = manager_clock {
        let ours = Timestamp::now();
        let apart = ours.duration_since(theirs).abs().as_secs();
        all.push(Examined::of("clock", clock::judge(theirs, ours), || {
            format!("within {apart} s of the Manager's")
        }));
    }
    all.push(blender_of(blender).await);
    let ffmpeg = Subject::Ffmpeg("ffmpeg".to_owned());
    all.push(Examined::of("FFmpeg", programs::missing(&ffmpeg), || {
        "is there".to_owned()
    }));
    all
}

async fn blender_of(command: &str) -> Examined {
    let subject = Subject::Blender(command.to_owned());
    if let Some(found) = programs::missing(&subject) {
        return Examined::of("Blender", Some(found), String::new);
    }
    let path = programs::locate(command).unwrap_or_else(|| command.into());
    match programs::version(&path).await {
        Ok(version) => Examined::of("Blender", None, || {
            format!("{version} at {}", path.display())
        }),
        Err(why) => Examined {
            name: "Blender".to_owned(),
            text: format!("{} {why}: install it anew", path.display()),
            is_well: false,
        },
    }
}
