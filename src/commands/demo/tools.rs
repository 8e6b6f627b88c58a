// SPDX-License-Identifier: GPL-3.0-or-later
//! The programs that the demo needs, found on this machine, and the environment that keeps
//! them from writing outside the demo's folder.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::exit::{Code, Exit};

/// The scene is made from numbers by this script, so no binary file lies in the repository.
const MAKE_SCENE: &str = include_str!("../../../demo/make_scene.py");

/// Blender and FFmpeg.
pub(super) struct Tools {
    pub(super) blender: PathBuf,
    pub(super) ffprobe: PathBuf,
}

impl Tools {
    /// Looks for all of them on PATH, and says everything that is missing at once.
    pub(super) fn find() -> anyhow::Result<Self> {
        let wanted = ["blender", "ffmpeg", "ffprobe"];
        let found = wanted.map(on_path);
        let missing: Vec<&str> = wanted
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| *name)
            .collect();
        match found {
            [Some(blender), Some(_), Some(ffprobe)] => Ok(Self { blender, ffprobe }),
            _ => Err(Exit::new(
                Code::Failed,
                format!(
                    "the demo needs {}, not found on PATH. In a clone `make setup-demo` installs \
                     what is missing; on Debian and Ubuntu so does `apt-get install blender ffmpeg`",
                    missing.join(", ")
                ),
            )
            .into()),
        }
    }
}

/// A program by its name, as the shell would find it.
fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&folders)
        .map(|folder| folder.join(&name))
        .find(|path| path.is_file())
}

/// Folders for what programs would otherwise keep in the home directory and in /tmp. Without
/// the user's own Blender set-up the demo also renders the same everywhere.
pub(super) struct Home {
    folder: PathBuf,
}

impl Home {
    pub(super) fn create(out: &Path) -> anyhow::Result<Self> {
        let home = Self {
            folder: out.join("home"),
        };
        for (_, folder) in home.variables() {
            let folder = Path::new(&folder);
            std::fs::create_dir_all(folder)
                .with_context(|| format!("make the folder {}", folder.display()))?;
        }
        Ok(home)
    }

    /// What to set for every program that the demo starts.
    pub(super) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let names = [
            ("BLENDER_USER_RESOURCES", "blender"),
            ("BLENDER_USER_CONFIG", "blender/config"),
            ("BLENDER_USER_SCRIPTS", "blender/scripts"),
            ("BLENDER_USER_DATAFILES", "blender/datafiles"),
            ("BLENDER_USER_EXTENSIONS", "blender/extensions"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "share"),
            ("TMPDIR", "tmp"),
            ("TEMP", "tmp"),
            ("TMP", "tmp"),
        ];
        names
            .into_iter()
            .map(|(name, part)| (name, self.folder.join(part).into_os_string()))
            .collect()
    }

    /// Takes the folder away: nothing in it is of use to anybody.
    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(%error, folder = %self.folder.display(), "remove the demo's home");
        }
    }
}

/// Has Blender make the scene; gives the blend file.
pub(super) fn make_scene(tools: &Tools, home: &Home, out: &Path) -> anyhow::Result<PathBuf> {
    let folder = out.join("scene");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("make the folder {}", folder.display()))?;
    let script = folder.join("make_scene.py");
    std::fs::write(&script, MAKE_SCENE).with_context(|| format!("write {}", script.display()))?;
    let blend = folder.join("fan.blend");
    // A file of an earlier run must not pass for this run's.
    if let Err(error) = std::fs::remove_file(&blend) {
        anyhow::ensure!(
            error.kind() == std::io::ErrorKind::NotFound,
            "replace {}: {error}",
            blend.display()
        );
    }
    let made = Command::new(&tools.blender)
        .args([
            "--background",
            "--factory-startup",
            "--python-exit-code",
            "1",
        ])
        .arg("--python")
        .arg(&script)
        .arg("--")
        .arg(&blend)
        .envs(home.variables())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {}", tools.blender.display()))?;
    if !made.status.success() || !blend.is_file() {
        let said = [made.stdout, made.stderr].concat();
        return Err(Exit::new(
            Code::Failed,
            format!(
                "Blender ({}) could not make the scene, {}:\n{}",
                tools.blender.display(),
                made.status,
                last_lines(&String::from_utf8_lossy(&said), 20)
            ),
        )
        .into());
    }
    Ok(blend)
}

/// The end of a text, indented.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(count)..];
    shown
        .iter()
        .map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
