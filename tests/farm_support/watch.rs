// SPDX-License-Identifier: GPL-3.0-or-later
//! Watches an output folder from a thread: what bears a final name is whole at once and for good.
//!
//! Each file is looked at as soon as it appears: a picture has to decode, a video has to have all
//! its parts. From then on a picture's inode and content must stay as they were.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::scene::SIZE;

/// A file as it was when it appeared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    inode: u64,
    size: u64,
    modified: SystemTime,
    hash: blake3::Hash,
}

/// What the watcher knows.
#[derive(Default)]
struct Book {
    files: BTreeMap<PathBuf, Seen>,
    problems: Vec<String>,
}

/// A thread that watches.
pub(crate) struct Watcher {
    folder: PathBuf,
    book: Arc<Mutex<Book>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches a folder that need not exist yet.
    pub(crate) fn start(folder: &Path) -> Self {
        let book: Arc<Mutex<Book>> = Arc::default();
        let done = Arc::new(AtomicBool::new(false));
        let thread = {
            let (folder, book, done) = (folder.to_owned(), Arc::clone(&book), Arc::clone(&done));
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    look(&folder, &book, false);
                    // Often enough to meet half-written files, seldom enough to let Blender work.
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        };
        Self {
            folder: folder.to_owned(),
            book,
            done,
            thread: Some(thread),
        }
    }

    /// How many frames have their final names.
    pub(crate) fn frames(&self) -> usize {
        let book = self.book.lock().expect("the watcher does not panic");
        book.files.keys().filter(|path| is_picture(path)).count()
    }

    /// Reads everything once more and ends. Returns everything that was wrong.
    pub(crate) fn problems(mut self) -> Vec<String> {
        self.end();
        let book = self.book.lock().expect("the watcher does not panic");
        book.problems.clone()
    }

    fn end(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the watcher does not panic");
        }
        look(&self.folder, &self.book, true);
    }

    /// Reads everything once more, ends, and fails if anything was wrong. Returns name and content
    /// hash of each frame.
    pub(crate) fn finish(mut self) -> BTreeMap<PathBuf, blake3::Hash> {
        self.end();
        let book = self.book.lock().expect("the watcher does not panic");
        assert!(book.problems.is_empty(), "{}", book.problems.join("\n"));
        let frames = book.files.iter().filter(|(path, _)| is_picture(path));
        frames
            .map(|(path, seen)| (path.clone(), seen.hash))
            .collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "png")
}

/// All files below a folder; what is being worked on lies in hidden folders.
fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !hidden => files(&entry.path(), into),
            Ok(kind) if kind.is_file() && !hidden => into.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Looks at every file; `thoroughly` reads also those whose inode, size and time are unchanged.
fn look(folder: &Path, book: &Mutex<Book>, thoroughly: bool) {
    let mut paths = Vec::new();
    files(folder, &mut paths);
    let mut book = book.lock().expect("the watcher does not panic");
    let gone: Vec<PathBuf> = book
        .files
        .keys()
        .filter(|path| is_picture(path) && !paths.contains(path) && !path.exists())
        .cloned()
        .collect();
    for path in gone {
        book.problems.push(format!("{} is gone", path.display()));
        book.files.remove(&path);
    }
    for path in paths {
        let Some(seen) = glance(&path, book.files.get(&path), thoroughly) else {
            continue;
        };
        let (seen, problem) = seen;
        let before = book.files.insert(path.clone(), seen.clone());
        if let Some(problem) = problem {
            book.problems.push(format!("{}: {problem}", path.display()));
        }
        if let Some(before) = before
            && is_picture(&path)
            && (before.inode != seen.inode || before.hash != seen.hash)
        {
            let path = path.display();
            book.problems
                .push(format!("{path} changed: {before:?}, now {seen:?}"));
        }
    }
}

/// Reads a file unless it is as it was. `None`: nothing new.
fn glance(path: &Path, before: Option<&Seen>, thoroughly: bool) -> Option<(Seen, Option<String>)> {
    let mut file = fs::File::open(path).ok()?;
    let facts = file.metadata().ok()?;
    let unchanged = before.is_some_and(|before| {
        before.inode == facts.ino()
            && before.size == facts.len()
            && Some(before.modified) == facts.modified().ok()
    });
    if unchanged && !thoroughly {
        return None;
    }
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut content).ok()?;
    let problem = if is_picture(path) {
        picture_problem(&content)
    } else {
        video_problem(&content)
    };
    let seen = Seen {
        inode: facts.ino(),
        size: facts.len(),
        modified: facts.modified().ok()?,
        hash: blake3::hash(&content),
    };
    Some((seen, problem))
}

fn picture_problem(content: &[u8]) -> Option<String> {
    match image::load_from_memory_with_format(content, image::ImageFormat::Png) {
        Ok(picture) if (picture.width(), picture.height()) == SIZE => None,
        Ok(picture) => Some(format!("{}x{} pixels", picture.width(), picture.height())),
        Err(error) => Some(format!("is no whole PNG: {error}")),
    }
}

/// An MP4 is a row of boxes, each with its size; a whole one has its index (`moov`).
fn video_problem(content: &[u8]) -> Option<String> {
    let (mut at, mut has_index) = (0, false);
    while at < content.len() {
        let Some(head) = content.get(at..at + 8) else {
            return Some(format!("is no whole MP4: it breaks off at {at}"));
        };
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if size < 8 || at + size > content.len() {
            return Some(format!("is no whole MP4: the box at {at} breaks off"));
        }
        has_index |= &head[4..] == b"moov";
        at += size;
    }
    (!has_index).then(|| "is no whole MP4: it has no index".to_owned())
}
