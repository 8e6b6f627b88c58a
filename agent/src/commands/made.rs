// SPDX-License-Identifier: GPL-3.0-or-later
//! Files that a command makes itself: written in staging, synced, checked, then named.
//!
//! A file under its final name is whole, whenever the Worker or its machine dies. What is no frame
//! of the job is reported as nothing.

use std::path::{Path, PathBuf};

use super::{Context, Ending, Failure};
use crate::frames::publish::{self, Content, Named};
use crate::frames::staging::{Staging, StagingError};
use crate::wire::FailureClass;

/// What may happen to a file that is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    /// It is replaced: files that the job makes for itself.
    Replace,
    /// It stays, and is no error if it has the same content.
    KeepIfSame,
}

/// Makes the files of one command. [`Maker::close`] must be called at its end.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    context: &'a Context,
    staging: Staging,
}

impl<'a> Maker<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let outbox = context.reporter.outbox().clone();
        Self {
            context,
            staging: Staging::new(outbox, context.reporter.attempt()),
        }
    }

    /// Removes what was not named.
    pub(super) fn close(self) {
        self.staging.close();
    }

    /// The name in staging of a file whose final place is `place`.
    pub(super) async fn staged(&mut self, place: &Path) -> Result<PathBuf, Ending> {
        let (Some(dir), Some(name)) = (place.parent(), place.file_name()) else {
            return Err(Failure::new(
                FailureClass::BadCommand,
                format!("{} names no file", place.display()),
            )
            .into());
        };
        let folder = self.staging.folder_for(dir).await;
        match folder {
            Ok(folder) => Ok(folder.join(name)),
            Err(StagingError::Outbox(failed)) => Err(failed.into()),
            Err(error @ StagingError::Io { .. }) => Err(Failure::io(format!(
                "{error}; can this worker write to the output folder?"
            ))
            .into()),
        }
    }

    /// Makes one file in a thread of its own and names it.
    pub(super) async fn make(
        &mut self,
        place: &Path,
        in_the_way: InTheWay,
        make: impl FnOnce(&Path) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Content, Ending> {
        self.context.go_on()?;
        let staged = self.staged(place).await?;
        let target = staged.clone();
        blocking(move || make(&target)).await?;
        self.name(&staged, place, in_the_way).await
    }

    /// Names a file that is ready in staging.
    pub(super) async fn name(
        &mut self,
        staged: &Path,
        place: &Path,
        in_the_way: InTheWay,
    ) -> Result<Content, Ending> {
        let content = Self::seal(staged, place).await?;
        self.give(staged, place, in_the_way, content).await
    }

    /// Syncs a file that is ready in staging and looks whether it is whole.
    pub(super) async fn seal(staged: &Path, place: &Path) -> Result<Content, Ending> {
        let file = staged.to_owned();
        let sealed = blocking(move || publish::seal(&file)).await;
        sealed.map_err(|error| {
            let reason = format!(
                "what was to become {} is not whole: {error}",
                place.display()
            );
            Failure::new(FailureClass::MissingOutput, reason).into()
        })
    }

    /// Gives a sealed file its name.
    pub(super) async fn give(
        &mut self,
        staged: &Path,
        place: &Path,
        in_the_way: InTheWay,
        content: Content,
    ) -> Result<Content, Ending> {
        // The last look at the fence: after this line the file is ours to name.
        self.context.go_on()?;
        let (file, target) = (staged.to_owned(), place.to_owned());
        let replace = in_the_way == InTheWay::Replace;
        let named = blocking(move || publish::give_name(&file, &target, replace)).await;
        match named {
            Ok(Named::Published { note }) => {
                if let Some(note) = note {
                    self.context.reporter.log(&note);
                }
                Ok(content)
            }
            Ok(Named::Taken) => {
                let there = place.to_owned();
                let there = blocking(move || publish::content(&there)).await;
                if there.is_ok_and(|there| there.hash == content.hash) {
                    return Ok(content);
                }
                Err(Failure::io(format!(
                    "{} exists already with other content and is kept; move it out of the way to publish anew",
                    place.display()
                ))
                .into())
            }
            Err(error) => Err(Failure::io(format!("{}: {error}", place.display())).into()),
        }
    }
}

/// Runs file work beside the tasks that keep the lease.
pub(super) async fn blocking<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(action)
        .await
        .expect("file work does not panic and is not aborted")
}
