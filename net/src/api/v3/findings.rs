// SPDX-License-Identifier: GPL-3.0-or-later
//! What our own workers find wrong with frames whose files they looked at (`verify-frames`).
//!
//! A worker sees the storage where the Manager may not. What it found is compared here with what
//! was published, and noted on the frames; what it found right takes earlier flags away.

use std::collections::BTreeMap;

use serde::Deserialize;
use tablao_core::{
    Request, ShotId, TaskId,
    entity::FrameKey,
    event::{Finding, FramesVerified, frame_flags},
};

use super::{WorkerIdentity, worker::ask};
use crate::engine::Engine;

/// A file that a worker looked at.
#[derive(Deserialize)]
pub(super) struct FindingJson {
    /// The shot, where it is not that of the task.
    shot: Option<ShotId>,
    number: i32,
    #[serde(default)]
    output: String,
    #[serde(default)]
    view: String,
    /// BLAKE3 of the file, where there is one.
    hash: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    words: String,
}

impl FindingJson {
    fn read(self, own: ShotId) -> Finding {
        let flags = self
            .flags
            .iter()
            .filter_map(|name| frame_flags::of_name(name));
        let hash = self.hash.as_deref().map(blake3::Hash::from_hex);
        Finding {
            key: FrameKey {
                shot: self.shot.unwrap_or(own),
                output: self.output,
                view: self.view,
                number: self.number,
            },
            publications: 0,
            maker: None,
            flags: flags.fold(0, |all, flag| all | flag),
            seen: hash.and_then(Result::ok).map(|hash| *hash.as_bytes()),
            words: self.words,
        }
    }
}

/// Notes what a worker found. Nothing of it is worth an error to the worker: it did its task.
pub(super) async fn note(
    engine: &Engine,
    worker: &WorkerIdentity,
    task: TaskId,
    found: Vec<FindingJson>,
) {
    if found.is_empty() {
        return;
    }
    let mut findings: BTreeMap<ShotId, Vec<Finding>> = BTreeMap::new();
    let job = {
        let model = engine.model();
        let farm = model.farm();
        let Some((job, _)) = farm.task(task) else {
            return;
        };
        for json in found {
            let mut finding = json.read(job.state.facts.shot);
            let Some(frame) = farm.frames().get(&finding.key) else {
                continue;
            };
            finding.publications = frame.publications;
            let is_whole = finding.flags & !(frame_flags::BLACK | frame_flags::WRONG_SIZE) == 0;
            if is_whole && finding.seen.is_some_and(|seen| seen != frame.hash) {
                finding.flags |= frame_flags::CHANGED;
                let words = "its file is not the one that was published";
                if !finding.words.is_empty() {
                    finding.words.push_str("; ");
                }
                finding.words.push_str(words);
            }
            findings.entry(finding.key.shot).or_default().push(finding);
        }
        job.state.facts.job
    };
    for (shot, findings) in findings {
        let count = |findings: &mut dyn Iterator<Item = &Finding>| {
            u32::try_from(findings.count()).unwrap_or(u32::MAX)
        };
        let verified = FramesVerified {
            shot,
            job: Some(job),
            looked_at: count(&mut findings.iter()),
            flawed: count(&mut findings.iter().filter(|finding| finding.flags != 0)),
        };
        let request = Request::FlagFrames {
            findings,
            verified: Some(verified),
        };
        if let Err(problem) = ask(engine, worker, request).await {
            tracing::warn!(?problem, "note what a worker found wrong with frames");
        }
    }
}
