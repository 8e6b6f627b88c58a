// SPDX-License-Identifier: GPL-3.0-or-later
//! Where the control group of this process is as a folder.
//!
//! Reads what the kernel says of it; nothing is changed here.

use std::path::{Component, Path, PathBuf};

/// The folder of this process's group; words where there is none.
pub(super) fn folder() -> Result<PathBuf, String> {
    let read = |path: &str| {
        let bytes = std::fs::read(path).map_err(|_| "this system has none".to_owned())?;
        Ok::<_, String>(String::from_utf8_lossy(&bytes).into_owned())
    };
    folder_in(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
}

/// The same, from the groups of a process and what is mounted.
fn folder_in(groups: &str, mounts: &str) -> Result<PathBuf, String> {
    // The groups of version 1 have a number and names of controllers.
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let own = Path::new(own.ok_or("this system has none of version 2")?);
    let folder = mounts.lines().filter_map(mounted).find_map(|(root, at)| {
        let below = own.strip_prefix(root).ok()?;
        // `..` leads to a group outside of the container that we are in.
        let is_inside = below
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        is_inside.then(|| at.components().chain(below.components()).collect())
    });
    folder.ok_or_else(|| format!("the group {} of this worker is not mounted", own.display()))
}

/// What of the tree of groups a line of the mounts shows, and where; none if it is another mount.
fn mounted(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = place.split(' ').skip(3);
    Some((plain(fields.next()?), plain(fields.next()?)))
}

/// A path in which the kernel wrote blanks and the like as three octal digits.
fn plain(field: &str) -> PathBuf {
    let mut text = String::new();
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let digits = after.get(..3);
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    (text + rest).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        23 28 0:22 / /proc rw,nosuid - proc proc rw\n\
        35 32 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        33 24 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        // Protects the groups of others: limits are set in this folder and nowhere else.
        let found = |groups: &str, mounts: &str| folder_in(groups, mounts);
        let unit = "0::/system.slice/tablao.service\n";
        let folder = found(unit, MOUNTS).unwrap();
        let expected = "/sys/fs/cgroup/system.slice/tablao.service";
        assert_eq!(folder.to_str(), Some(expected));
        assert_eq!(
            found("0::/\n", MOUNTS).unwrap().to_str(),
            Some("/sys/fs/cgroup")
        );
        // Beside groups of version 1, and with only a part of the tree mounted.
        let mixed = "4:memory:/somewhere\n0::/farm/a b\n";
        let part = "38 31 0:41 /farm /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
        let folder = found(mixed, part).unwrap();
        assert_eq!(folder.to_str(), Some("/mnt/my groups/a b"));
    }

    #[test]
    fn a_group_that_is_not_there_is_told_and_not_guessed() {
        // Protects machines of version 1, containers, and systems without control groups.
        let refused = |groups: &str, mounts: &str| folder_in(groups, mounts).unwrap_err();
        assert!(refused("4:memory:/a\n", MOUNTS).contains("none of version 2"));
        assert!(refused("0::/../other\n", MOUNTS).contains("not mounted"));
        assert!(refused("0::/a\n", "").contains("not mounted"));
        let elsewhere = "38 31 0:41 /farm /mnt rw - cgroup2 cgroup2 rw\n";
        assert!(refused("0::/farmer\n", elsewhere).contains("not mounted"));
    }
}
