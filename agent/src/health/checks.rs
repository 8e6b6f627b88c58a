// SPDX-License-Identifier: GPL-3.0-or-later
//! Looks at files, folders and disks: what is to be read can be read, what is to be written can
//! be written, and there is room. Nothing is left behind.
//!
//! A file that is not in its folder is no sign of a sick machine, and not reported: the task says
//! so better. A share that is gone may never answer: then that is what is wrong.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::subjects::Subject;
use crate::wire::{Finding, FindingKind};

/// A file system that answers does so within this.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// Looks at what a task names, and at the disk of a folder of the Worker's own.
pub(super) async fn look(
    subjects: BTreeSet<Subject>,
    own: Option<PathBuf>,
    free_bytes_min: u64,
) -> Vec<Finding> {
    // What is looked at just now, to be named if it never answers.
    let at = Arc::new(Mutex::new(String::new()));
    let (tell, told) = tokio::sync::oneshot::channel();
    let looking = Arc::clone(&at);
    // A thread of its own: one that hangs in a dead share must not hold up the end of the process.
    let spawned = std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || {
            let note = |path: &Path| {
                *looking.lock().expect("no holder panics") = path.display().to_string();
            };
            // Nobody listens any more when it took too long.
            let _ = tell.send(look_at(&subjects, own.as_deref(), free_bytes_min, note));
        });
    if let Err(error) = spawned {
        tracing::warn!(%error, "start a thread to look at this machine");
        return Vec::new();
    }
    match tokio::time::timeout(ANSWER_TIME_MAX, told).await {
        Ok(found) => found.unwrap_or_default(),
        Err(_) => {
            let subject = at.lock().expect("no holder panics").clone();
            let words = format!(
                "{subject} does not answer within {} s: is its share still there? Mount it again",
                ANSWER_TIME_MAX.as_secs()
            );
            vec![Finding {
                kind: FindingKind::Unreadable,
                subject,
                of_job: false,
                words,
            }]
        }
    }
}

fn look_at(
    subjects: &BTreeSet<Subject>,
    own: Option<&Path>,
    free_bytes_min: u64,
    note: impl Fn(&Path),
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut disks = Vec::new();
    if let Some(own) = own {
        note(own);
        disks.extend(full(own, free_bytes_min));
    }
    for subject in subjects {
        match subject {
            Subject::Input(path) => {
                note(path);
                found.extend(unreadable(path));
            }
            Subject::Output(folder) => {
                note(folder);
                found.extend(unwritable(folder));
                disks.extend(full(nearest(folder), free_bytes_min));
            }
            Subject::Blender(_) | Subject::Ffmpeg(_) | Subject::Program(_) => {}
        }
    }
    found.extend(disks);
    found
}

/// What is wrong with a file that is to be read.
pub(super) fn unreadable(path: &Path) -> Option<Finding> {
    let looked = fs::metadata(path).and_then(|known| {
        if known.is_dir() {
            fs::read_dir(path).map(drop)
        } else {
            File::open(path).and_then(|mut file| file.read(&mut [0]).map(drop))
        }
    });
    let error = looked.err()?;
    let shown = path.display();
    let finding = |kind, words| {
        Some(Finding {
            kind,
            subject: path.display().to_string(),
            of_job: true,
            words,
        })
    };
    if error.kind() == ErrorKind::NotFound {
        let folder = path.parent()?;
        if folder.exists() {
            return None;
        }
        let words = format!(
            "the folder of {shown} is not there ({} is the last that is): mount the share, or \
             correct the path",
            nearest(folder).display()
        );
        return finding(FindingKind::Absent, words);
    }
    let words =
        format!("{shown} cannot be read: {error}. See to its rights and its share on this machine");
    finding(FindingKind::Unreadable, words)
}

/// What is wrong with a folder that is to be written to. It is tried with a file in the nearest
/// folder that exists.
pub(super) fn unwritable(folder: &Path) -> Option<Finding> {
    let place = nearest(folder);
    let name = format!(
        ".tablao-check-{}-{:08x}",
        std::process::id(),
        rand::random::<u32>()
    );
    let file = place.join(name);
    let tried = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut opened| {
            let written = opened.write_all(b"Tablao looks whether it can write here.\n");
            drop(opened);
            fs::remove_file(&file)?;
            written
        });
    let error = tried.err()?;
    let what = match error.kind() {
        ErrorKind::ReadOnlyFilesystem => "is mounted read-only on this machine".to_owned(),
        _ => format!("cannot be written: {error}"),
    };
    let inside = if place == folder {
        String::new()
    } else {
        format!(", where {} is to be made,", folder.display())
    };
    Some(Finding {
        kind: FindingKind::Unwritable,
        subject: folder.display().to_string(),
        of_job: true,
        words: format!(
            "the output folder {}{inside} {what}. Mount it for writing and give this worker's user \
             the right to write there",
            place.display()
        ),
    })
}

/// What is wrong with the room on the disk of a folder.
pub(super) fn full(folder: &Path, free_bytes_min: u64) -> Option<Finding> {
    // Where it cannot be told there is nothing to find.
    let free = fs4::available_space(folder).ok()?;
    (free < free_bytes_min).then(|| Finding {
        kind: FindingKind::Disk,
        subject: folder.display().to_string(),
        of_job: false,
        words: format!(
            "the disk of {} has {} MiB free, and {} are needed: make room",
            folder.display(),
            free >> 20,
            free_bytes_min >> 20
        ),
    })
}

/// The nearest folder above that exists, or itself.
pub(super) fn nearest(folder: &Path) -> &Path {
    let exists = |folder: &&Path| folder.is_dir();
    folder.ancestors().find(exists).unwrap_or(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_the_jobs_and_a_missing_folder_may_be_the_machines() {
        // Protects workers from going into quarantine for a slip in a file's name, and jobs from
        // running into a share that is not mounted.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.blend");
        assert_eq!(unreadable(&file), None, "its folder is there");
        fs::write(&file, "x").unwrap();
        assert_eq!(unreadable(&file), None);
        let gone = unreadable(&folder.path().join("share/a.blend")).unwrap();
        assert_eq!(gone.kind, FindingKind::Absent);
        assert!(
            gone.of_job && gone.words.contains("mount the share"),
            "{gone:?}"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_folder_is_tried_and_nothing_is_left_in_it() {
        // Protects outputs: the nearest folder that exists is tried with a file, which goes away.
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unwritable(&folder.path().join("to/be/made")), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // Nobody, whatever its rights, makes files there.
        let found = unwritable(Path::new("/proc/frames")).unwrap();
        assert_eq!(found.kind, FindingKind::Unwritable);
        assert!(
            found
                .words
                .contains("/proc, where /proc/frames is to be made"),
            "{found:?}"
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_disk_without_room_is_told_with_both_numbers() {
        // Protects against a limit that is never reached or not named.
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(full(folder.path(), 0), None);
        let found = full(folder.path(), u64::MAX).unwrap();
        assert!(
            !found.of_job && found.words.contains("MiB free"),
            "{found:?}"
        );
    }
}
