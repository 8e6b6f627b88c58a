// SPDX-License-Identifier: GPL-3.0-or-later
//! What a warm Blender was started for. Another key is another Blender.
//!
//! The files are told apart by size, time and inode, as they were when Blender was started; files
//! that the scene itself names are watched by the server inside Blender.

use std::path::Path;
use std::time::SystemTime;

use super::warm_plan::WarmPlan;

/// What tells one state of a file from another.
type Facts = (u64, Option<SystemTime>, Option<(u64, u64)>);

/// Everything that has to be the same for a task to be rendered in a Blender that is up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) job: String,
    exe: String,
    shared: Vec<String>,
    /// Of the blend file and of the scripts, in the order of the command line.
    files: Vec<Facts>,
}

impl Key {
    pub(super) fn of(
        job: &str,
        exe: &str,
        blendfile: &str,
        plan: &WarmPlan,
    ) -> Result<Self, String> {
        let names = std::iter::once(blendfile).chain(plan.scripts.iter().map(String::as_str));
        let files = names
            .map(|name| facts(name).map_err(|error| format!("{name}: {error}")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            job: job.to_owned(),
            exe: exe.to_owned(),
            shared: plan.shared.clone(),
            files,
        })
    }

    /// What has changed since `before`, for people.
    pub(super) fn difference(&self, before: &Self) -> &'static str {
        if self.job != before.job {
            "it belongs to another job"
        } else if self.exe != before.exe || self.shared != before.shared {
            "it was started with other arguments"
        } else {
            "the blend file or a script has changed"
        }
    }
}

fn facts(name: &str) -> std::io::Result<Facts> {
    let metadata = std::fs::metadata(Path::new(name))?;
    Ok((
        metadata.len(),
        metadata.modified().ok(),
        crate::frames::publish::inode(&metadata),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blender::warm_plan;

    #[test]
    fn a_changed_file_or_argument_is_another_key() {
        // Protects frames from a Blender that holds what the artist has saved over since.
        let dir = tempfile::tempdir().unwrap();
        let blend = dir.path().join("f.blend");
        std::fs::write(&blend, b"first").unwrap();
        let blend = blend.display().to_string();
        let key = |job: &str, format: &str| {
            let args = ["-b", &blend, "-F", format, "-f", "1"].map(str::to_owned);
            let plan = warm_plan::plan("blender", &args, &blend).unwrap();
            Key::of(job, "blender", &blend, &plan).unwrap()
        };
        let first = key("j", "PNG");
        assert_eq!(first, key("j", "PNG"));
        assert!(key("k", "PNG").difference(&first).contains("job"));
        assert!(key("j", "JPEG").difference(&first).contains("arguments"));
        std::fs::write(&blend, b"second").unwrap();
        assert!(key("j", "PNG").difference(&first).contains("changed"));
    }
}
