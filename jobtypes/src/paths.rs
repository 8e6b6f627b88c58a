// SPDX-License-Identifier: GPL-3.0-or-later
//! The `path` functions of job type scripts: pure text, the same on every operating system.
//!
//! `\` and `/` are both separators and results use `/`, because a job submitted from Windows is
//! compiled on any Manager and rendered on any Worker. Nothing here touches a file system, and
//! nothing here decides whether a path may be used.

/// The last element of a path. An empty path gives `.`, a path of separators only gives `/`.
#[must_use]
pub fn basename(path: &str) -> String {
    let slashed = to_slashes(path);
    if slashed.is_empty() {
        return ".".to_owned();
    }
    let trimmed = slashed.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/".to_owned();
    }
    let start = trimmed.rfind('/').map_or(0, |at| at + 1);
    trimmed[start..].to_owned()
}

/// Everything before the last separator, uncleaned. Without a separator that is `.`.
#[must_use]
pub fn dirname(path: &str) -> String {
    let slashed = to_slashes(path);
    match slashed.rfind('/') {
        None => ".".to_owned(),
        Some(0) => "/".to_owned(),
        Some(at) => slashed[..at].to_owned(),
    }
}

/// The last element without its last extension: `stem.tar.gz` gives `stem.tar`.
#[must_use]
pub fn stem(path: &str) -> String {
    let base = basename(path);
    match base.rfind('.') {
        Some(at) => base[..at].to_owned(),
        None => base,
    }
}

/// Joins the elements that are not empty and cleans the result.
///
/// Cleaning looks at `/` only and happens before `\` is converted, so the two leading backslashes
/// of a Windows share survive while doubled slashes elsewhere do not.
#[must_use]
pub fn join<S: AsRef<str>>(elements: &[S]) -> String {
    let joined = elements
        .iter()
        .map(AsRef::as_ref)
        .filter(|element| !element.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    if joined.is_empty() {
        return joined;
    }
    to_slashes(&clean(&joined))
}

/// Resolves `.`, `..` and doubled slashes by text alone. Never empty: nothing left means `.`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." => match kept.last() {
                Some(last) if *last != ".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(".."),
            },
            other => kept.push(other),
        }
    }
    match (rooted, kept.is_empty()) {
        (true, _) => format!("/{}", kept.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => kept.join("/"),
    }
}

fn to_slashes(path: &str) -> String {
    path.replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `basename` agrees with what scripts written for Flamenco expect.
    #[test]
    fn basename_table() {
        let rows = [
            ("", "."),
            ("/", "/"),
            ("///", "/"),
            (r"\\", "/"),
            ("file.txt", "file.txt"),
            ("/a/b/", "b"),
            (r"C:\ünicode\is\awésom.tar.gz", "awésom.tar.gz"),
            (r"C:\path/to\mixed/slashes\file.txt", "file.txt"),
        ];
        for (path, expected) in rows {
            assert_eq!(basename(path), expected, "{path:?}");
        }
    }

    /// `dirname` keeps drive letters and the double slash of shares, and never cleans.
    #[test]
    fn dirname_table() {
        let rows = [
            ("", "."),
            ("file", "."),
            ("/", "/"),
            ("/file-at-root", "/"),
            (r"C:\file-at-root", "C:"),
            (r"\\SERVER\ünicode\is\x.gz", "//SERVER/ünicode/is"),
            (r"/Mixed path\with/slash.txt", "/Mixed path/with"),
            ("/a/b/", "/a/b"),
            ("/a/../b/c", "/a/../b"),
        ];
        for (path, expected) in rows {
            assert_eq!(dirname(path), expected, "{path:?}");
        }
    }

    /// `join` skips empty elements, cleans slash parts and ends with forward slashes.
    #[test]
    fn join_table() {
        let rows: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["", ""], ""),
            (&["", "", "a", "", "b", ""], "a/b"),
            (
                &[r"C:\ünicode", r"is\awésom.tar.gz"],
                "C:/ünicode/is/awésom.tar.gz",
            ),
            (
                &[r"\\SERVER", "mount", "dir", "file.txt"],
                "//SERVER/mount/dir/file.txt",
            ),
            (&["//SERVER/mount", "dir"], "/SERVER/mount/dir"),
            (&["/a/b", "../c", "./d"], "/a/c/d"),
            (&["a", "../.."], ".."),
            (&["a", ".."], "."),
            (&["/", "..", "a"], "/a"),
        ];
        for (elements, expected) in rows {
            assert_eq!(join(elements), *expected, "{elements:?}");
        }
    }

    /// `stem` takes one extension away, whatever separators the path uses.
    #[test]
    fn stem_table() {
        let rows = [
            ("", ""),
            ("stem", "stem"),
            ("stem.tar.gz", "stem.tar"),
            (r"C:\path/to\mixed/slashes\file.txt", "file"),
            ("/a/.hidden", ""),
        ];
        for (path, expected) in rows {
            assert_eq!(stem(path), expected, "{path:?}");
        }
    }
}
