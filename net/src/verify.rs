// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads the files of frames from the storage and compares them with what is known of them.
//!
//! Files are read where this machine sees them, below the folders that frames are looked for in
//! anyway. What is not seen here is not judged: a storage that is not mounted is no fault of a
//! thousand frames. One scope is looked at at a time, and whoever asks for it meanwhile waits for
//! the same answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tablao_core::{
    JobId, Request, ShotId, TaskStatus,
    entity::FrameKey,
    event::{Finding, FramesVerified, frame_flags},
};
use tablao_pictures::{
    examine::{Content, Examined, examine},
    judge::{Fault, judge},
};
use tablao_projections::{FrameRow, ReadModel};
use tokio::sync::watch;

use crate::{
    api::actor::Sender,
    engine::{Ask, Engine},
    foreign_frames,
    node::SharedNode,
    variables::{Audience, own_platform},
};

/// Findings in one decision: it has to fit a batch.
const FINDINGS_MAX: usize = 500;

/// Which frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) shot: ShotId,
    /// Only those that this job published last.
    pub(crate) job: Option<JobId>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Frames whose files were looked at.
    pub(crate) looked_at: u32,
    /// Frames whose folders are not seen here, or may not be looked into.
    pub(crate) unseen: Vec<(FrameKey, String)>,
    /// What is wrong, by frame.
    pub(crate) flawed: Vec<(FrameKey, u16, String)>,
}

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU32,
    pub(crate) of: AtomicU32,
}

/// A verification that runs: its progress, and its outcome when there is one.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) progress: Arc<Progress>,
    pub(crate) outcome: watch::Receiver<Option<Result<Arc<Outcome>, String>>>,
}

/// Those that run.
#[derive(Debug, Default)]
pub struct Verifications {
    running: Mutex<BTreeMap<Scope, Running>>,
    /// Files are read for one of them at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A file to look at.
struct Wanted {
    key: FrameKey,
    job: JobId,
    hash: [u8; 32],
    publications: u32,
    file: PathBuf,
}

/// Begins to look at frames, or finds that somebody did.
pub(crate) fn begin(node: &SharedNode, engine: &Engine, scope: Scope, by: &Sender) -> Running {
    let mut running = lock(&node.verifications.running);
    if let Some(running) = running.get(&scope) {
        return running.clone();
    }
    let progress = Arc::<Progress>::default();
    let (told, outcome) = watch::channel(None);
    let begun = Running {
        progress: Arc::clone(&progress),
        outcome,
    };
    running.insert(scope, begun.clone());
    let (node, engine, by) = (Arc::clone(node), engine.clone(), by.clone());
    tokio::spawn(async move {
        let outcome = verify(&node, &engine, scope, &by, &progress).await;
        lock(&node.verifications.running).remove(&scope);
        // Nobody may be left to hear of it; what was found stands in the journal.
        let _ = told.send(Some(outcome.map(Arc::new)));
    });
    begun
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn verify(
    node: &SharedNode,
    engine: &Engine,
    scope: Scope,
    by: &Sender,
    progress: &Arc<Progress>,
) -> Result<Outcome, String> {
    let turn = Arc::clone(&node.verifications.turn).lock_owned().await;
    let (wanted, mut findings, roots) = {
        let model = engine.model();
        let (wanted, roots) = wanted(node, &model, scope);
        (wanted, never_published(&model, scope), roots)
    };
    let all = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
    progress.of.store(all, Ordering::Relaxed);
    let counted = Arc::clone(progress);
    let looked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        look_at_all(wanted, &roots, &counted)
    });
    let (mut outcome, seen) = looked
        .await
        .map_err(|_| "looking at the files failed; the Manager's log says more".to_owned())?;
    findings.extend(seen);
    let flawed = findings.iter().filter(|finding| finding.flags != 0);
    outcome.flawed = flawed
        .map(|finding| (finding.key.clone(), finding.flags, finding.words.clone()))
        .collect();
    outcome.flawed.sort_by(|one, other| one.0.cmp(&other.0));
    let verified = FramesVerified {
        shot: scope.shot,
        job: scope.job,
        looked_at: outcome.looked_at,
        flawed: u32::try_from(outcome.flawed.len()).unwrap_or(u32::MAX),
    };
    note(engine, findings, verified, by).await?;
    Ok(outcome)
}

/// Has the farm note what was found. The last decision says that all was looked at.
async fn note(
    engine: &Engine,
    findings: Vec<Finding>,
    verified: FramesVerified,
    by: &Sender,
) -> Result<(), String> {
    let mut left = findings.into_iter().peekable();
    loop {
        let findings: Vec<Finding> = left.by_ref().take(FINDINGS_MAX).collect();
        let is_last = left.peek().is_none();
        let request = Request::FlagFrames {
            findings,
            verified: is_last.then(|| verified.clone()),
        };
        let ask = Ask::new(request, by.actor, by.asker.clone());
        match engine.ask(ask).await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => return Err(refusal.to_string()),
            Err(_) => return Err("the Manager is being stopped".to_owned()),
        }
        if is_last {
            return Ok(());
        }
    }
}

/// The frames of a scope with their files as this machine would name them, and the folders that
/// may be looked into, by job.
fn wanted(
    node: &SharedNode,
    model: &ReadModel,
    scope: Scope,
) -> (Vec<Wanted>, BTreeMap<JobId, Vec<PathBuf>>) {
    let ours = node.variables(Audience::Workers, own_platform());
    let frames: Box<dyn Iterator<Item = FrameRow>> = match scope.job {
        Some(job) => Box::new(model.frames_of_job(job)),
        None => Box::new(model.frames_of_shot(scope.shot)),
    };
    let mut roots = BTreeMap::new();
    let farm = model.farm();
    let wanted = frames.filter(|row| row.key.shot == scope.shot).map(|row| {
        (roots.entry(row.job)).or_insert_with(|| foreign_frames::roots(node, model, row.job));
        let platform = (farm.workers().get(&row.worker)).map(|worker| worker.platform.as_str());
        let theirs = node.variables(Audience::Workers, platform.unwrap_or_default());
        let publications = farm
            .frames()
            .get(&row.key)
            .map_or(0, |frame| frame.publications);
        Wanted {
            file: PathBuf::from(ours.expand(&theirs.collapse(&row.detail.path))),
            publications,
            job: row.job,
            hash: row.hash,
            key: row.key,
        }
    });
    let wanted = wanted.collect();
    (wanted, roots)
}

/// Frames that completed tasks of the scope name and that nobody told of. Only where others of
/// the same job were told of: who sees no file of a job cannot miss one.
fn never_published(model: &ReadModel, scope: Scope) -> Vec<Finding> {
    let farm = model.farm();
    let mut findings = Vec::new();
    for (id, job) in farm.jobs() {
        let is_meant = scope.job.is_none_or(|wanted| wanted == *id);
        if job.state.facts.shot != scope.shot || !is_meant {
            continue;
        }
        let known: BTreeSet<i32> = (model.frames_of_job(*id))
            .filter(|row| row.key.shot == scope.shot)
            .map(|row| row.key.number)
            .collect();
        if known.is_empty() {
            continue;
        }
        let done = |task: &tablao_core::Task<'_>| {
            task.status == TaskStatus::Completed && !task.retired && !task.frames.is_empty()
        };
        // A task of which no frame is known makes none, or makes them where nobody sees them.
        for task in job.tasks.iter().filter(done) {
            let numbers = || {
                let ranges = task.frames.ranges().iter();
                ranges.flat_map(|&(first, last)| first..=last)
            };
            if !numbers().any(|number| known.contains(&number)) {
                continue;
            }
            for number in numbers().filter(|number| !known.contains(number)) {
                findings.push(Finding {
                    key: FrameKey {
                        shot: scope.shot,
                        output: String::new(),
                        view: String::new(),
                        number,
                    },
                    publications: 0,
                    maker: Some((*id, task.number)),
                    flags: frame_flags::MISSING,
                    seen: None,
                    words: "its task is completed, and nobody told of it".to_owned(),
                });
            }
        }
    }
    findings
}

/// Where a file is, as far as it may be looked at from here.
enum Place {
    Seen(PathBuf),
    Missing,
    Unseen(String),
}

fn place_of(file: &Path, roots: &[PathBuf]) -> Place {
    match foreign_frames::below(file, roots) {
        Ok(Some(real)) => Place::Seen(real),
        Ok(None) => Place::Unseen(
            "its folder is neither on the shared storage nor named by its job".to_owned(),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = file.parent().unwrap_or(file);
            match foreign_frames::below(folder, roots) {
                Ok(Some(_)) => Place::Missing,
                Ok(None) | Err(_) => Place::Unseen("its folder is not seen here".to_owned()),
            }
        }
        Err(error) => Place::Unseen(format!("it cannot be read here: {error}")),
    }
}

/// Looks at all files; gives what is wrong with each, and with most of them nothing.
fn look_at_all(
    wanted: Vec<Wanted>,
    roots: &BTreeMap<JobId, Vec<PathBuf>>,
    progress: &Progress,
) -> (Outcome, Vec<Finding>) {
    let mut outcome = Outcome::default();
    let mut findings = Vec::with_capacity(wanted.len());
    // Neighbours are frames of one output and view, in the order of their numbers.
    let mut sequences: BTreeMap<(String, String), Vec<Wanted>> = BTreeMap::new();
    for wanted in wanted {
        let names = (wanted.key.output.clone(), wanted.key.view.clone());
        sequences.entry(names).or_default().push(wanted);
    }
    for mut sequence in sequences.into_values() {
        sequence.sort_by_key(|wanted| wanted.key.number);
        let mut seen: Vec<(Wanted, Option<Examined>)> = Vec::with_capacity(sequence.len());
        for wanted in sequence {
            progress.done.fetch_add(1, Ordering::Relaxed);
            let roots = roots.get(&wanted.job).map_or(&[][..], Vec::as_slice);
            let examined = match place_of(&wanted.file, roots) {
                Place::Seen(file) => examine(&file).map_err(|error| error.to_string()),
                Place::Missing => Ok(None),
                Place::Unseen(why) => Err(why),
            };
            match examined {
                Ok(examined) => seen.push((wanted, examined)),
                Err(why) => outcome.unseen.push((wanted.key, why)),
            }
        }
        let (wanted, examined): (Vec<Wanted>, Vec<Option<Examined>>) = seen.into_iter().unzip();
        let judged = judge(&examined);
        for ((wanted, examined), found) in wanted.into_iter().zip(examined).zip(judged) {
            outcome.looked_at += 1;
            findings.push(finding(wanted, examined.as_ref(), &found));
        }
    }
    (outcome, findings)
}

fn finding(
    wanted: Wanted,
    examined: Option<&Examined>,
    found: &[tablao_pictures::judge::Found],
) -> Finding {
    let mut flags = found
        .iter()
        .fold(0, |flags, found| flags | flag_of(found.fault));
    let mut words: Vec<String> = found.iter().map(|found| found.words.clone()).collect();
    let differs = examined.is_some_and(|examined| {
        let is_whole = matches!(examined.content, Content::Whole(_) | Content::Unread);
        is_whole && examined.hash != wanted.hash
    });
    if differs {
        flags |= frame_flags::CHANGED;
        words.push("its file is not the one that was published".to_owned());
    }
    Finding {
        key: wanted.key,
        publications: wanted.publications,
        maker: None,
        flags,
        seen: examined.map(|examined| examined.hash),
        words: words.join("; "),
    }
}

/// The flag of a fault.
pub(crate) fn flag_of(fault: Fault) -> u16 {
    match fault {
        Fault::Missing => frame_flags::MISSING,
        Fault::Empty => frame_flags::EMPTY,
        Fault::Truncated => frame_flags::TRUNCATED,
        Fault::Black => frame_flags::BLACK,
        Fault::Changed => frame_flags::CHANGED,
        Fault::WrongSize => frame_flags::WRONG_SIZE,
    }
}
