// SPDX-License-Identifier: GPL-3.0-or-later
//! Putting a stored file into a checkout: by a link where the file system has them, by a copy
//! where it has none.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crate::Error;

/// A way to have a file in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkMethod {
    /// A symbolic link, relative, so that it holds wherever the storage is mounted.
    Symbolic,
    /// A second name of the same file.
    Hard,
    /// The contents again.
    Copy,
}

/// All ways, the best first: symbolic links are what a collection can see from anywhere.
pub(crate) const METHODS: [LinkMethod; 3] =
    [LinkMethod::Symbolic, LinkMethod::Hard, LinkMethod::Copy];

/// Puts a file into a checkout in the first of these ways that works here. A way that failed is
/// taken off the list, so that twenty thousand files do not each try it.
pub(crate) fn place(
    methods: &mut Vec<LinkMethod>,
    source: &Path,
    target_of_link: &Path,
    place: &Path,
) -> Result<(), Error> {
    first_that_works(methods, |method| match method {
        LinkMethod::Symbolic => symbolic_link(target_of_link, place),
        LinkMethod::Hard => fs::hard_link(source, place),
        LinkMethod::Copy => copy(source, place),
    })
    .map_err(Error::io("link", place))
}

fn first_that_works(
    methods: &mut Vec<LinkMethod>,
    mut attempt: impl FnMut(LinkMethod) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        let Some(method) = methods.first() else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "no way to link is left to try",
            ));
        };
        match attempt(*method) {
            Err(error) if methods.len() > 1 && is_about_the_way(&error) => {
                methods.remove(0);
            }
            other => return other,
        }
    }
}

/// The failure may be of this way only: no right to it, not supported here, other file systems,
/// too many names of one file. A full disk or a missing folder would fail any way.
fn is_about_the_way(error: &io::Error) -> bool {
    // Windows without the right to make symbolic links.
    const PRIVILEGE_NOT_HELD: i32 = 1314;
    // Windows on file systems that have none.
    const INVALID_FUNCTION: i32 = 1;
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
    ) || (cfg!(windows)
        && matches!(
            error.raw_os_error(),
            Some(PRIVILEGE_NOT_HELD | INVALID_FUNCTION)
        ))
}

#[cfg(unix)]
fn symbolic_link(target: &Path, place: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

#[cfg(windows)]
fn symbolic_link(target: &Path, place: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, place)
}

#[cfg(not(any(unix, windows)))]
fn symbolic_link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A copy that is on the disk: unlike a link it could be torn by a power loss.
fn copy(source: &Path, place: &Path) -> io::Result<()> {
    let mut from = File::open(source)?;
    let mut to = File::create_new(place)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A farm whose storage has no links still gets its files, and tries each way once.
    #[test]
    fn a_way_that_is_not_there_is_left_for_the_next() {
        let mut methods = METHODS.to_vec();
        let mut tried = Vec::new();
        let mut without_links = |method| {
            tried.push(method);
            match method {
                LinkMethod::Symbolic => Err(io::ErrorKind::PermissionDenied.into()),
                LinkMethod::Hard => Err(io::ErrorKind::Unsupported.into()),
                LinkMethod::Copy => Ok(()),
            }
        };
        first_that_works(&mut methods, &mut without_links).expect("copied");
        first_that_works(&mut methods, &mut without_links).expect("copied");
        assert_eq!(
            tried,
            [
                LinkMethod::Symbolic,
                LinkMethod::Hard,
                LinkMethod::Copy,
                LinkMethod::Copy
            ]
        );
    }

    /// A full disk is no reason to copy what a link could not even be written for.
    #[test]
    fn other_failures_are_final() {
        let mut methods = METHODS.to_vec();
        let full = |_| Err(io::ErrorKind::StorageFull.into());
        let error = first_that_works(&mut methods, full).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(methods, METHODS, "nothing was learnt about the ways");
        let error = first_that_works(&mut vec![LinkMethod::Copy], |_| {
            Err(io::ErrorKind::PermissionDenied.into())
        })
        .expect_err("the last way fails");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
