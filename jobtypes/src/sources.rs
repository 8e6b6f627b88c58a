// SPDX-License-Identifier: GPL-3.0-or-later
//! An unchanging picture of all script files: the built-in ones and a scripts folder on disk.
//!
//! Compilations work on such a picture, never on the disk: a script and its helpers always belong
//! together, an edit in progress is never seen half done, and `require()` cannot reach any file
//! that was not read here. What the files mean is for `catalog` and `modules` to decide.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Files shorter than this cannot be a job type; editors and Windows leave such crumbs behind.
const TYPE_BYTES_MIN: usize = 8;
/// More than any hand-written script; a file beyond it was put into the folder by mistake.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bound for the whole folder, which is kept in memory.
const TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Folders within folders; `node_modules` trees are deep, endless ones are a mistake.
const DEPTH_MAX: usize = 24;

/// Job types, and in a folder what they share: helpers are not job types.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "blender_render.js",
        include_str!("../scripts/blender_render.js"),
    ),
    (
        "blender_render_progressive.js",
        include_str!("../scripts/blender_render_progressive.js"),
    ),
    ("command.js", include_str!("../scripts/command.js")),
    ("echo.js", include_str!("../scripts/echo.js")),
    (
        "echo_sleep_test.js",
        include_str!("../scripts/echo_sleep_test.js"),
    ),
    (
        "simple_blender_render.js",
        include_str!("../scripts/simple_blender_render.js"),
    ),
    (
        "simulation_bake.js",
        include_str!("../scripts/simulation_bake.js"),
    ),
    (
        "single_image_render.js",
        include_str!("../scripts/single_image_render.js"),
    ),
    ("sleep.js", include_str!("../scripts/sleep.js")),
    ("tablao/bake.js", include_str!("../scripts/tablao/bake.js")),
    (
        "tablao/common.js",
        include_str!("../scripts/tablao/common.js"),
    ),
    (
        "tablao/samples.js",
        include_str!("../scripts/tablao/samples.js"),
    ),
    (
        "video_encode.js",
        include_str!("../scripts/video_encode.js"),
    ),
];

/// One script or module file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Path below the scripts folder, with `/`.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
    /// Whether the file may be a job type: a regular `.js` file directly in the folder.
    pub(crate) may_be_type: bool,
}

impl SourceFile {
    /// Whether the file is too short to be a script at all.
    pub(crate) fn is_crumb(&self) -> bool {
        self.text.len() < TYPE_BYTES_MIN
    }

    /// Name of the job type this file would define.
    pub(crate) fn type_name(&self) -> String {
        self.path.trim_end_matches(".js").replace('_', "-")
    }
}

/// All files, as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    on_disk: BTreeMap<String, SourceFile>,
}

/// A file that could not be taken along, with the reason.
pub(crate) type Skipped = (String, String);

impl Sources {
    /// Reads the folder. One that does not exist is an empty one; text equal to that of `previous` is shared.
    pub(crate) fn read(folder: Option<&Path>, previous: &Self) -> (Self, Vec<Skipped>) {
        let mut reader = Reader {
            previous,
            root: PathBuf::new(),
            files: BTreeMap::new(),
            skipped: Vec::new(),
            bytes: 0,
        };
        if let Some(folder) = folder {
            match folder.canonicalize() {
                Ok(root) => {
                    reader.root.clone_from(&root);
                    reader.read_folder(&root, "", 0);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => reader.skip(&folder.display().to_string(), &error),
            }
        }
        let sources = Self {
            on_disk: reader.files,
        };
        (sources, reader.skipped)
    }

    /// A picture that was sent.
    pub(crate) fn from_files(files: impl Iterator<Item = SourceFile>) -> Self {
        Self {
            on_disk: files.map(|file| (file.path.clone(), file)).collect(),
        }
    }

    /// The files of the folder.
    pub(crate) fn on_disk(&self) -> impl Iterator<Item = &SourceFile> {
        self.on_disk.values()
    }

    /// The file at exactly this path; a file on disk hides a built-in one.
    pub(crate) fn get(&self, path: &str) -> Option<SourceFile> {
        if let Some(file) = self.on_disk.get(path) {
            return Some(file.clone());
        }
        built_in().find(|file| file.path == path)
    }

    /// Whether the file comes from the folder and not from the program.
    pub(crate) fn is_on_disk(&self, path: &str) -> bool {
        self.on_disk.contains_key(path)
    }

    /// The files that may be job types, in the order in which later ones hide earlier ones.
    pub(crate) fn type_files(&self) -> impl Iterator<Item = SourceFile> + '_ {
        let on_disk = self.on_disk.values();
        let candidates = on_disk.filter(|file| file.may_be_type).cloned();
        built_in().filter(|file| file.may_be_type).chain(candidates)
    }
}

fn built_in() -> impl Iterator<Item = SourceFile> {
    BUILT_IN.iter().map(|(path, text)| SourceFile {
        path: (*path).to_owned(),
        text: Arc::from(*text),
        may_be_type: !path.contains('/'),
    })
}

struct Reader<'a> {
    previous: &'a Sources,
    root: PathBuf,
    files: BTreeMap<String, SourceFile>,
    skipped: Vec<Skipped>,
    bytes: usize,
}

impl Reader<'_> {
    fn skip(&mut self, path: &str, reason: &dyn std::fmt::Display) {
        self.skipped.push((path.to_owned(), reason.to_string()));
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.skip(prefix, &"folders are nested too deeply");
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.skip(prefix, &error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.skip(prefix, &error);
                    continue;
                }
            };
            let file_name = entry.file_name();
            // Names that are not Unicode cannot be asked for by a script.
            let Some(name) = file_name.to_str() else {
                continue;
            };
            let virtual_path = if prefix.is_empty() {
                name.to_owned()
            } else {
                format!("{prefix}/{name}")
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    self.read_folder(&entry.path(), &virtual_path, depth + 1);
                }
                Ok(kind) if name.ends_with(".js") || name.ends_with(".json") => {
                    self.read_file(&entry.path(), virtual_path, kind.is_symlink());
                }
                Ok(_) => {}
                Err(error) => self.skip(&virtual_path, &error),
            }
        }
    }

    fn read_file(&mut self, path: &Path, virtual_path: String, is_symlink: bool) {
        match self.read_text(path) {
            Ok(Some(text)) => {
                let top_level = !virtual_path.contains('/') && virtual_path.ends_with(".js");
                let may_be_type = top_level && !is_symlink;
                let file = SourceFile {
                    path: virtual_path.clone(),
                    text,
                    may_be_type,
                };
                let file = match self.previous.on_disk.get(&virtual_path) {
                    Some(known) if *known == file => known.clone(),
                    _ => file,
                };
                self.files.insert(virtual_path, file);
            }
            Ok(None) => self.skip(&virtual_path, &"it is no file inside the scripts folder"),
            // Gone between listing and reading: an editor at work. The next scan sees the result.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.skip(&virtual_path, &error),
        }
    }

    /// The text of a file, or nothing for what is not a file below the folder (a link elsewhere).
    fn read_text(&mut self, path: &Path) -> io::Result<Option<Arc<str>>> {
        let target = path.canonicalize()?;
        if !target.starts_with(&self.root) || !target.is_file() {
            return Ok(None);
        }
        if fs::metadata(&target)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "larger than {FILE_BYTES_MAX} bytes"
            )));
        }
        let text = fs::read_to_string(&target)?;
        self.bytes += text.len();
        if self.bytes > TOTAL_BYTES_MAX {
            let message = format!("the scripts folder holds more than {TOTAL_BYTES_MAX} bytes");
            return Err(io::Error::other(message));
        }
        Ok(Some(Arc::from(text)))
    }
}
