// SPDX-License-Identifier: GPL-3.0-or-later
//! Control groups (Linux, version 2) for the slots of a Worker: what the programs in one slot have
//! together, which limits of single processes cannot say.
//!
//! They are made below the group in which the Worker was started, if that is the Worker's alone:
//! `GROUP/tablao-worker-ID/{worker,slot-1,slot-2,...}`. The Worker itself goes into `worker`, for
//! a group that divides what it has may hold no process. All go again with the Worker; what a
//! killed one left, the next one with its data directory removes. No other group is touched.

mod own;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::identity;
use crate::places::{LimitsBy, Share};

const MEMORY: &str = "memory";
const PROCESSORS: &str = "cpuset";

/// The name of the group that the Worker itself is in.
const WORKER: &str = "worker";

/// Which controllers are enabled for the groups below one.
const ENABLED: &str = "cgroup.subtree_control";

/// A group that still has a process by then stays; the next Worker removes it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The control group of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotGroup {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Whether it limits the memory of all that is in it together.
    pub(crate) limits_memory: bool,
}

/// Puts this process into a group, and with it all that it will start.
pub(crate) fn enter(folder: &Path) -> Result<(), String> {
    write(folder, "cgroup.procs", "0")
}

/// Writes to one of the files that the kernel has put into a group's folder.
fn write(folder: &Path, file: &str, value: &str) -> Result<(), String> {
    let path = folder.join(file);
    let opened = std::fs::OpenOptions::new().write(true).open(&path);
    opened
        .and_then(|mut opened| opened.write_all(value.as_bytes()))
        .map_err(|error| format!("cannot write {value} to {}: {error}", path.display()))
}

/// Gives the slots control groups where the owner's wishes and the system allow it, and says in
/// the log which limits hold. Words where the owner insists on what is not there.
pub(crate) fn give(
    shares: &mut [Share],
    by: LimitsBy,
    data_dir: &Path,
) -> Result<Option<Groups>, String> {
    let wanted = wanted(shares);
    if wanted.is_empty() {
        return Ok(None);
    }
    if by == LimitsBy::Resource {
        tracing::info!("slots are kept to their share by resource limits, as asked for");
        return Ok(None);
    }
    let groups = match Groups::make(shares, &wanted, data_dir) {
        Ok(groups) => groups,
        Err(why) if by == LimitsBy::Groups => return Err(insists(&why)),
        Err(why) => {
            tracing::info!(why, "slots are kept to their share by resource limits");
            return Ok(None);
        }
    };
    let controllers = groups.controllers.join(" ");
    let folder = groups.home.display();
    if groups.missing.is_empty() {
        tracing::info!(%folder, controllers, "slots are kept to their share by control groups");
    } else {
        let why = groups.missing.join("; ");
        if by == LimitsBy::Groups {
            return Err(insists(&why));
        }
        tracing::info!(
            %folder, controllers, why,
            "slots are kept to their share by control groups, and else by resource limits"
        );
    }
    for (number, share) in shares.iter_mut().enumerate() {
        share.group = Some(SlotGroup {
            folder: groups.slot(number),
            limits_memory: share.memory_bytes.is_some() && groups.has(MEMORY),
        });
    }
    Ok(Some(groups))
}

fn insists(why: &str) -> String {
    format!("--slot-limits asks for control groups, and not all are there: {why}")
}

/// The controllers that these shares would be kept by.
fn wanted(shares: &[Share]) -> Vec<&'static str> {
    let memory = shares.iter().any(|share| share.memory_bytes.is_some());
    let processors = shares.iter().any(|share| !share.processors.is_empty());
    [(MEMORY, memory), (PROCESSORS, processors)]
        .into_iter()
        .filter_map(|(controller, is_wanted)| is_wanted.then_some(controller))
        .collect()
}

/// One file of a slot's group.
#[derive(Debug, PartialEq)]
struct Setting {
    file: &'static str,
    value: String,
    /// Whether a kernel that does not know it cannot be used.
    is_needed: bool,
}

/// What is written into a slot's group.
fn settings(share: &Share, controllers: &[&str]) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |file, value, is_needed| {
        settings.push(Setting {
            file,
            value,
            is_needed,
        });
    };
    if let Some(bytes) = share.memory_bytes
        && controllers.contains(&MEMORY)
    {
        set("memory.max", bytes.to_string(), true);
        // A slot that swaps would only be slow; and where there is no swap there is no such file.
        set("memory.swap.max", "0".to_owned(), false);
        // A task of which only a part is left could not end well.
        set("memory.oom.group", "1".to_owned(), false);
    }
    if !share.processors.is_empty() && controllers.contains(&PROCESSORS) {
        let numbers: Vec<String> = share.processors.iter().map(usize::to_string).collect();
        set("cpuset.cpus", numbers.join(","), true);
    }
    settings
}

/// The group around that of this Worker. One that was started in its own group, as by a process
/// that could not leave it, goes on where that was.
fn parent_of(own: PathBuf, name: &str) -> PathBuf {
    let home = own.parent().filter(|home| home.ends_with(name));
    match home.and_then(Path::parent) {
        Some(parent) if own.ends_with(WORKER) => parent.to_path_buf(),
        Some(_) | None => own,
    }
}

/// A name that no other Worker on this machine has: that of the file by whose lock the data
/// directory is ours.
fn name_of(data_dir: &Path) -> Result<String, String> {
    let file = identity::lock_file(data_dir);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let of_file = std::fs::metadata(&file).map_err(|error| error.to_string())?;
        Ok(format!(
            "tablao-worker-{:x}-{:x}",
            of_file.dev(),
            of_file.ino()
        ))
    }
    #[cfg(not(unix))]
    Err(format!("{} has no number", file.display()))
}

/// Whether a Worker of this process has groups: only one at a time can say where the process is.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The only Worker of this process that has groups, until this is dropped.
#[derive(Debug)]
struct Only;

impl Only {
    fn take() -> Option<Self> {
        (!TAKEN.swap(true, Ordering::AcqRel)).then_some(Self)
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// The groups of this Worker. They go when this is dropped.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Where the Worker was started.
    parent: PathBuf,
    /// The group around the Worker and its slots.
    home: PathBuf,
    slots: usize,
    controllers: Vec<&'static str>,
    /// Why not all that was wanted is there.
    missing: Vec<String>,
    /// Those of the controllers that we enabled in `parent`, or one before us that was killed.
    enabled: Vec<&'static str>,
    /// Whether one before us was killed.
    is_left_over: bool,
    _only: Only,
}

impl Groups {
    fn make(shares: &[Share], wanted: &[&'static str], data_dir: &Path) -> Result<Self, String> {
        let name = name_of(data_dir)?;
        let parent = parent_of(own::folder()?, &name);
        let offered = std::fs::read_to_string(parent.join("cgroup.controllers"));
        let offered = offered.unwrap_or_default();
        let is_offered = |name: &&&str| offered.split_whitespace().any(|word| word == **name);
        let (offered, lacking): (Vec<_>, Vec<_>) = wanted.iter().partition(is_offered);
        let at = parent.display();
        let lacking = lacking
            .iter()
            .map(|name| format!("the group {at} does not offer {name}"));
        let missing: Vec<String> = lacking.collect();
        if offered.is_empty() {
            return Err(missing.join("; "));
        }
        let mut groups = Self {
            home: parent.join(name),
            parent,
            slots: shares.len(),
            controllers: Vec::new(),
            missing,
            enabled: Vec::new(),
            is_left_over: false,
            _only: Only::take().ok_or("another worker of this process has them")?,
        };
        groups.remove_left_over();
        // Whatever goes wrong from here on is undone when the groups are dropped.
        make_folder(&groups.home)?;
        let worker = groups.home.join(WORKER);
        make_folder(&worker)?;
        enter(&worker)?;
        for controller in offered {
            match groups.enable(controller) {
                Ok(()) => groups.controllers.push(controller),
                Err(why) => groups.missing.push(why),
            }
        }
        if groups.controllers.is_empty() {
            return Err(groups.missing.join("; "));
        }
        for (number, share) in shares.iter().enumerate() {
            let folder = groups.slot(number);
            make_folder(&folder)?;
            for setting in settings(share, &groups.controllers) {
                let is_known = folder.join(setting.file).exists();
                if is_known || setting.is_needed {
                    write(&folder, setting.file, &setting.value)?;
                }
            }
        }
        Ok(groups)
    }

    fn slot(&self, number: usize) -> PathBuf {
        self.home.join(format!("slot-{}", number + 1))
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// Hands a controller down to the slots.
    fn enable(&mut self, controller: &'static str) -> Result<(), String> {
        let order = format!("+{controller}");
        let before = std::fs::read_to_string(self.parent.join(ENABLED)).unwrap_or_default();
        let is_enabled = before.split_whitespace().any(|word| word == controller);
        if !is_enabled {
            write(&self.parent, ENABLED, &order).map_err(|error| {
                format!("{error} (is it delegated to this worker, and nothing else in it?)")
            })?;
        }
        // It could not be enabled while somebody was in the group, as one before us was; only in
        // the group of the whole machine, which is everybody's.
        let is_of_machine = !self.parent.join("cgroup.type").exists();
        if !is_enabled || self.is_left_over && !is_of_machine {
            self.enabled.push(controller);
        }
        write(&self.home, ENABLED, &order)
    }

    /// Removes what a Worker with this data directory left that was killed. It is dead, for we
    /// have its lock.
    fn remove_left_over(&mut self) {
        self.is_left_over = self.home.exists();
        if self.is_left_over {
            tracing::info!(folder = %self.home.display(), "a worker before left its control groups");
            remove_below(&self.home);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for number in 0..self.slots {
            remove_slot(&self.slot(number), Instant::now() + PATIENCE);
        }
        for controller in &self.controllers {
            let _ = write(&self.home, ENABLED, &format!("-{controller}"));
        }
        for controller in &self.enabled {
            // Refused while another Worker divides the same group, which is as it should be.
            let _ = write(&self.parent, ENABLED, &format!("-{controller}"));
        }
        // The process may live on without its Worker.
        match enter(&self.parent) {
            Ok(()) => {
                let until = Instant::now() + PATIENCE;
                remove(&self.home.join(WORKER), until);
                remove(&self.home, until);
            }
            Err(why) => tracing::debug!(why, "the group of this worker stays"),
        }
    }
}

fn make_folder(folder: &Path) -> Result<(), String> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make {}: {error}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the groups in a Worker's group.
fn remove_below(home: &Path) {
    let until = Instant::now() + PATIENCE;
    for group in groups_in(home) {
        // The Worker's own may hold this very process.
        if group.ends_with(WORKER) {
            remove(&group, Instant::now());
        } else {
            remove_slot(&group, until);
        }
    }
}

fn groups_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Removes a slot's group with those that its programs have made in it. No program has any
/// business there any more; most are gone, for their supervisors have seen to it.
fn remove_slot(folder: &Path, until: Instant) {
    // Kernels before 5.14 cannot.
    let _ = write(folder, "cgroup.kill", "1");
    for group in groups_in(folder) {
        remove_slot(&group, until);
    }
    remove(folder, until);
}

/// Removes a group once its last process has gone.
fn remove(folder: &Path, until: Instant) {
    loop {
        match std::fs::remove_dir(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "a control group stays");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(memory_bytes: Option<u64>, processors: &[usize]) -> Share {
        Share {
            processors: processors.to_vec(),
            memory_bytes,
            ..Share::default()
        }
    }

    fn written(share: &Share, controllers: &[&str]) -> Vec<(&'static str, String)> {
        let settings = settings(share, controllers).into_iter();
        settings
            .map(|setting| (setting.file, setting.value))
            .collect()
    }

    #[test]
    fn only_what_was_asked_for_is_limited() {
        // Protects a Worker without limits from being moved about, and a slot from a limit that
        // nobody wanted.
        assert!(wanted(&[share(None, &[])]).is_empty());
        assert_eq!(wanted(&[share(None, &[0]), share(None, &[1])]), ["cpuset"]);
        assert_eq!(wanted(&[share(Some(9), &[])]), ["memory"]);
        let both = share(Some(4096), &[0, 2, 3]);
        assert_eq!(
            written(&both, &["memory", "cpuset"]),
            [
                ("memory.max", "4096".to_owned()),
                ("memory.swap.max", "0".to_owned()),
                ("memory.oom.group", "1".to_owned()),
                ("cpuset.cpus", "0,2,3".to_owned()),
            ]
        );
        // Half of it may be there.
        assert_eq!(
            written(&both, &["cpuset"]),
            [("cpuset.cpus", "0,2,3".to_owned())]
        );
        assert_eq!(written(&share(None, &[]), &["memory", "cpuset"]), []);
    }

    #[test]
    fn a_worker_in_its_own_group_does_not_nest() {
        // Protects a Worker that starts again where the one before was from groups in groups.
        let name = "tablao-worker-1-2";
        let parent = |own: &str| parent_of(own.into(), name);
        assert_eq!(
            parent("/groups/unit/tablao-worker-1-2/worker"),
            Path::new("/groups/unit")
        );
        for other in [
            "/groups/unit",
            "/groups/unit/worker",
            "/groups/tablao-worker-1-3/worker",
            "/groups/tablao-worker-1-2/slot-1",
        ] {
            assert_eq!(parent(other), Path::new(other));
        }
    }

    #[cfg(unix)]
    #[test]
    fn workers_have_groups_of_their_own() {
        // Protects the groups of one Worker from another on the same machine, and lets the next
        // one with the same data find what was left.
        let dir = tempfile::tempdir().unwrap();
        let name = |data: &str| {
            let data = dir.path().join(data);
            let lock = identity::lock(&data).unwrap();
            let name = name_of(&data).unwrap();
            (lock, name)
        };
        let (left, right) = (name("left"), name("right"));
        assert_ne!(left.1, right.1);
        drop(left.0);
        assert!(name("left").1 != right.1);
        let _again = name("left");
        assert_eq!(name_of(&dir.path().join("left")).unwrap(), left.1);
    }

    #[test]
    fn one_worker_of_a_process_has_groups() {
        // Protects a process with two Workers from being moved out of the groups of the first.
        let first = Only::take().expect("nobody else has them");
        assert!(Only::take().is_none());
        drop(first);
        assert!(Only::take().is_some());
    }
}
