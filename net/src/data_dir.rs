// SPDX-License-Identifier: GPL-3.0-or-later
//! The data directory: where everything of a Server or Manager lies, its lock, its identity.
//!
//! One process at a time; a second one is refused and told which process has it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tablao_core::ManagerId;

use crate::{Error, clock};

/// Who this Manager (or Server) is. Written once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub manager: ManagerId,
}

/// An open data directory. The lock lasts as long as this value.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    /// Who owns it.
    pub identity: Identity,
    _lock: File,
}

impl DataDir {
    /// Opens the directory, making it when it is new.
    pub fn open(root: &Path) -> Result<Self, Error> {
        for part in [
            "",
            "journal",
            "checkpoints",
            "logs",
            "thumbnails",
            "previews",
            "blobs",
            "scripts",
            "storage",
        ] {
            // Joining nothing would leave a separator at the end of what is shown.
            let path = match part {
                "" => root.to_owned(),
                part => root.join(part),
            };
            fs::create_dir_all(&path).map_err(|source| Error::Folder { path, source })?;
        }
        let lock = lock(root)?;
        let identity = identity(root)?;
        Ok(Self {
            root: root.to_owned(),
            identity,
            _lock: lock,
        })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside it.
    pub fn path(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }
}

/// Segments of the control journal, below a data directory.
pub const CONTROL_JOURNAL: &str = "journal/control";
/// Segments of the site journal, below a data directory.
pub const SITE_JOURNAL: &str = "journal/site";
/// Folder of mirrors, one folder per Manager, below a data directory.
pub const MIRRORS: &str = "journal/mirrors";
/// Folder of a linked Manager's copy of the Server's control journal, below a data directory.
pub const MIRROR_OF_SERVER: &str = "journal/server";

fn lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let fail = |doing| {
        let path = path.clone();
        move |source| Error::File {
            doing,
            path,
            source,
        }
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fail("open"))?;
    if file.try_lock().is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let holder = match holder.trim() {
            "" => "another one".to_owned(),
            known => known.to_owned(),
        };
        return Err(Error::InUse {
            path: root.to_owned(),
            holder,
        });
    }
    file.set_len(0).map_err(fail("write"))?;
    file.rewind().map_err(fail("write"))?;
    write!(file, "{}", std::process::id()).map_err(fail("write"))?;
    Ok(file)
}

fn identity(root: &Path) -> Result<Identity, Error> {
    let path = root.join("identity.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::Configuration {
            path,
            what: format!("{error}; restore the file from a backup, it names this Manager"),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let identity = Identity {
                manager: ManagerId::new(clock::new_id()),
            };
            let text =
                serde_json::to_vec_pretty(&identity).expect("an id has nothing that JSON lacks");
            write_durably(&path, &text)?;
            Ok(identity)
        }
        Err(source) => Err(Error::File {
            doing: "read",
            path,
            source,
        }),
    }
}

/// Writes a whole file so that a crash leaves the old one or the new one: temporary name, sync,
/// rename, sync of the folder.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_as(path, bytes, OpenOptions::new().write(true).create_new(true))
}

/// The same, of a file that other users of the machine may not read.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write_as(path, bytes, &options)
}

fn write_as(path: &Path, bytes: &[u8], options: &OpenOptions) -> Result<(), Error> {
    let fail = |doing| {
        let path = path.to_owned();
        move |source| Error::File {
            doing,
            path,
            source,
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("{}.part", clock::new_id().simple()));
    let written = (|| {
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(fail("write")(source));
    }
    sync_folder(folder).map_err(fail("sync the folder of"))
}

/// Makes a rename or a new name in a folder durable.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        // Windows has no sync of a folder; NTFS journals its names itself.
        Ok(())
    }
}
