// SPDX-License-Identifier: GPL-3.0-or-later
//! After a kill: finds out which interrupted publications had happened, and reports those, and
//! gives back the attempts that nobody runs any more.
//!
//! Nothing is published here. The attempt may have lapsed meanwhile and its frame be somebody
//! else's; a file that has its final name, on the other hand, must not stay unreported.

use std::path::Path;

use super::publish;
use crate::outbox::{Entry, Outbox, OutboxFailed, Publishing};
use crate::wire::{TaskUpdate, UpdateExtension};

/// Settles every intent that is in the outbox; returns how many frames turned out published.
pub(crate) async fn settle(outbox: &Outbox) -> Result<usize, OutboxFailed> {
    let mut published = 0;
    for (seq, entry) in outbox.others() {
        let Entry::Publishing(intent) = entry else {
            continue;
        };
        if was_published(&intent) {
            published += 1;
            tracing::info!(
                path = intent.report.path,
                "an interrupted publication had happened"
            );
            let extension = UpdateExtension {
                attempt: intent.attempt.clone(),
                frames: vec![intent.report.clone()],
                ..UpdateExtension::default()
            };
            let update = TaskUpdate {
                tablao: Some(extension),
                ..TaskUpdate::default()
            };
            let task = intent.task.clone();
            // Reported first, done second: a kill between says it twice, which is harmless.
            outbox.put(Entry::Update { task, update }).await?;
        } else {
            tracing::info!(
                path = intent.report.path,
                "an interrupted publication had not happened"
            );
        }
        outbox.done(vec![seq]);
    }
    // The sign-on leaves them to us, because there is something to tell of them. Nobody would end
    // them after that, and their tasks would wait for the end of their leases.
    for (task, attempt) in outbox.unended() {
        let update = TaskUpdate {
            task_status: Some("queued".to_owned()),
            activity: Some("its worker was started anew".to_owned()),
            tablao: Some(UpdateExtension {
                attempt,
                ..UpdateExtension::default()
            }),
            ..TaskUpdate::default()
        };
        outbox.put(Entry::Update { task, update }).await?;
    }
    Ok(published)
}

/// Whether the file under the final name is the very one that was staged.
fn was_published(intent: &Publishing) -> bool {
    let place = Path::new(&intent.report.path);
    let Ok(found) = publish::content(place) else {
        return false;
    };
    let same_file = match (intent.inode, found.inode) {
        (Some(staged), Some(place)) => staged == place,
        // Without inodes: our staged name is gone, which happens after the link alone.
        _ => !intent.staged.exists(),
    };
    same_file && found.hash == intent.report.hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameReport;

    fn intent(staged: &Path, place: &Path) -> Publishing {
        let content = publish::content(staged).unwrap();
        Publishing {
            task: "task".into(),
            attempt: "attempt".into(),
            staged: staged.to_path_buf(),
            inode: content.inode,
            report: FrameReport {
                number: 1,
                path: place.to_string_lossy().into_owned(),
                hash: content.hash,
                outcome: "published".into(),
                ..FrameReport::default()
            },
        }
    }

    #[tokio::test]
    async fn only_what_was_linked_is_reported_after_a_restart() {
        // Protects "one publication per frame" across a kill between each two steps.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let staged = |name: &str| {
            let staged = dir.path().join(format!("{name}.staged"));
            std::fs::write(&staged, name).unwrap();
            staged
        };
        let place = |name: &str| dir.path().join(name);
        {
            let outbox = Outbox::open(&path).unwrap();
            for name in ["before-link", "after-link", "after-remove", "stranger"] {
                let entry = Entry::Publishing(intent(&staged(name), &place(name)));
                outbox.put(entry).await.unwrap();
            }
        }
        std::fs::hard_link(dir.path().join("after-link.staged"), place("after-link")).unwrap();
        publish::give_name(
            &dir.path().join("after-remove.staged"),
            &place("after-remove"),
            false,
        )
        .unwrap();
        // Another worker published the same content in our stead: its report, not ours.
        std::fs::write(place("stranger"), "stranger").unwrap();

        let outbox = Outbox::open(&path).unwrap();
        assert_eq!(settle(&outbox).await.unwrap(), 2);
        let reported: Vec<String> = outbox
            .oldest_updates(10)
            .into_iter()
            .flat_map(|(_, _, update)| update.tablao.unwrap().frames)
            .map(|frame| frame.path)
            .collect();
        let expected = ["after-link", "after-remove"].map(|name| place(name).display().to_string());
        assert_eq!(reported, expected);
        assert_eq!(outbox.held_attempts(), ["attempt"]);
        assert!(outbox.others().is_empty());
        assert!(!place("before-link").exists());
    }

    #[tokio::test]
    async fn an_attempt_that_nobody_runs_is_given_back_once() {
        // Protects a task from waiting for the end of a lease that the Worker's return renewed.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let told = |attempt: &str, status: Option<&str>| Entry::Update {
            task: "task".into(),
            update: TaskUpdate {
                task_status: status.map(str::to_owned),
                tablao: Some(UpdateExtension {
                    attempt: attempt.into(),
                    frames: vec![FrameReport::default()],
                    ..UpdateExtension::default()
                }),
                ..TaskUpdate::default()
            },
        };
        {
            let outbox = Outbox::open(&path).unwrap();
            outbox
                .put(told("broken off", Some("active")))
                .await
                .unwrap();
            outbox.put(told("broken off", None)).await.unwrap();
            outbox.put(told("ended", None)).await.unwrap();
            outbox.put(told("ended", Some("completed"))).await.unwrap();
        }
        for start in 1..=2 {
            let outbox = Outbox::open(&path).unwrap();
            settle(&outbox).await.unwrap();
            let updates = outbox.oldest_updates(10);
            let given_back: Vec<&str> = (updates.iter())
                .filter(|(_, _, update)| update.task_status.as_deref() == Some("queued"))
                .map(|(_, _, update)| update.tablao.as_ref().unwrap().attempt.as_str())
                .collect();
            assert_eq!(given_back, ["broken off"], "start {start}");
            let last = updates.last().unwrap().2.task_status.as_deref();
            assert_eq!(last, Some("queued"), "after all frames");
        }
    }
}
