// SPDX-License-Identifier: GPL-3.0-or-later
//! The file store of a scripted farm freezes at each of its syncs in turn, and the farm recovers.
//!
//! The engine is the real one, with its threads, over files in memory. After each freeze and each
//! kind of loss: everything that was answered is there, what is there is how the script began,
//! the state is what a replay gives, and the farm goes on to complete the jobs.
//!
//! With the sync taken away it fails:
//! `cargo test -p tablao-net --features tablao-journal/planted-no-sync --test crash_points`.

mod script;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use script::{JOB, Life, MANAGER, SECOND_JOB};
use tablao_core::{Event, JobStatus, Recorded};
use tablao_journal::{
    Authority, FaultPlan, FaultyFiles, FileStore, Lsn as JournalLsn, MemoryFiles, PowerLoss, Reader,
};
use tablao_net::engine::{Engine, EngineOptions};
use tablao_net::past::fold;
use tablao_net::records;
use tablao_projections::ReadModel;

fn options(checkpoints: &Path) -> EngineOptions {
    EngineOptions {
        journal_dir: checkpoints.to_owned(),
        checkpoint_dir: checkpoints.to_owned(),
        authority: Authority::Site,
        manager: MANAGER,
        // Nothing may lapse by the clock in the middle of a script.
        grace: Duration::from_secs(3600),
    }
}

fn faulty(plan: FaultPlan) -> (MemoryFiles, FaultyFiles) {
    let memory = MemoryFiles::new();
    let faulty = FaultyFiles::new(Arc::new(memory.clone()), plan);
    (memory, faulty)
}

/// In how many ways each torn state is tried.
fn torn_cases() -> u64 {
    if std::env::var_os("TABLAO_SOAK").is_some() {
        8
    } else {
        1
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// The script from its beginning, in two processes; returns the last position answered for.
fn live(files: &FaultyFiles, checkpoints: &Path) -> Life {
    let mut life = Life::default();
    for half in [1, 2] {
        let files: Arc<dyn FileStore> = Arc::new(files.clone());
        let Ok((engine, started)) = Engine::start_on(files, &options(checkpoints)) else {
            return life;
        };
        let played = runtime().block_on(life.play(&engine, half, started.recovery.clean));
        engine.close();
        if played.is_err() {
            return life;
        }
    }
    life.finished = true;
    life
}

fn events(files: &MemoryFiles) -> Vec<Recorded> {
    let Ok(reader) = Reader::open(Arc::new(files.clone())) else {
        return Vec::new();
    };
    let all = reader.records(JournalLsn::FIRST).expect("readable");
    all.map(|record| {
        let record = record.expect("a whole record");
        let read = records::read(&record).expect("a record of this build");
        read.expect("a kind of this build")
    })
    .collect()
}

/// The same fact, whatever the clock and the dice said.
fn same(one: &Recorded, other: &Recorded) -> bool {
    match (&one.event, &other.event) {
        (Event::Decision(one), Event::Decision(other)) => {
            (one.request, &one.outcome, one.actor) == (other.request, &other.outcome, other.actor)
        }
        (one, other) => one == other,
    }
}

/// Recovers what a loss left; `whole` are the events of the undisturbed run.
fn recovers(left: &MemoryFiles, life: &Life, whole: &[Recorded], checkpoints: &Path, when: &str) {
    let files: Arc<dyn FileStore> = Arc::new(left.clone());
    let (engine, _) = Engine::start_on(Arc::clone(&files), &options(checkpoints))
        .unwrap_or_else(|error| panic!("{when}: {error}"));
    let found = events(left);
    assert!(
        found.len() as u64 >= life.answered.get(),
        "{when}: answered up to {}, {} are there",
        life.answered,
        found.len()
    );
    assert!(
        found.len() <= whole.len(),
        "{when}: more than the script did"
    );
    for (found, scripted) in found.iter().zip(whole) {
        assert!(
            same(found, scripted),
            "{when}: {found:?} instead of {scripted:?}"
        );
    }
    let mut replayed = ReadModel::new();
    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    fold(&reader, &mut replayed).expect("folds");
    assert_eq!(
        engine.model().farm().digest(),
        replayed.farm().digest(),
        "{when}"
    );
    assert_eq!(
        engine.model().farm().position(),
        replayed.farm().position(),
        "{when}"
    );

    let jobs = runtime()
        .block_on(script::go_on(&engine))
        .unwrap_or_else(|error| panic!("{when}: {error}"));
    {
        let model = engine.model();
        for job in jobs {
            let status = model.farm().jobs()[&job].state.status;
            assert_eq!(status, JobStatus::Completed, "{when}: job {job}");
        }
        assert_eq!(
            model.farm().digest(),
            model.farm().recompute_digest(),
            "{when}"
        );
    }
    engine.close();
    for key in model_frames(left) {
        let published = events(left).iter().filter(
            |recorded| matches!(&recorded.event, Event::FramePublished(facts) if facts.key == key),
        ).count();
        assert_eq!(published, 1, "{when}: frame {key:?}");
    }
    let verified = Reader::open(files).and_then(|reader| reader.verify());
    verified.unwrap_or_else(|error| panic!("{when}: {error}"));
}

fn model_frames(files: &MemoryFiles) -> Vec<tablao_core::entity::FrameKey> {
    let mut model = ReadModel::new();
    let reader = Reader::open(Arc::new(files.clone())).expect("a journal");
    fold(&reader, &mut model).expect("folds");
    model.farm().frames().keys().collect()
}

/// Protects every acknowledged request from a loss of power at any sync, in any of its shapes,
/// together with whatever checkpoint the lost process had saved.
#[test]
fn frozen_at_every_sync_the_farm_recovers_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (memory, counting) = faulty(FaultPlan::default());
    let life = live(&counting, &folder.path().join("whole"));
    assert!(life.finished, "the script does not run through");
    let whole = events(&memory);
    let syncs = counting.syncs();
    let jobs = [JOB, SECOND_JOB].map(tablao_core::JobId::new);
    for job in jobs {
        let ready = whole
            .iter()
            .any(|recorded| matches!(&recorded.event, Event::JobReady(facts) if facts.job == job));
        assert!(ready, "the script has no job {job}");
    }
    let (mut cases, mut cut_short) = (0, 0);
    for sync in 1..=syncs {
        let plan = FaultPlan {
            freeze_at_sync: Some(sync),
            ..FaultPlan::default()
        };
        let mut losses = vec![PowerLoss::ProcessOnly, PowerLoss::UnsyncedLost];
        losses.extend((0..torn_cases()).map(|case| PowerLoss::Torn {
            seed: sync + case * 1000,
        }));
        for (number, loss) in losses.into_iter().enumerate() {
            let checkpoints = folder.path().join(format!("{sync}-{number}"));
            let (memory, frozen) = faulty(plan);
            let life = live(&frozen, &checkpoints);
            cases += 1;
            cut_short += u64::from(!life.finished);
            let when = format!("frozen at sync {sync} of {syncs}, {loss:?}");
            recovers(&memory.after(loss), &life, &whole, &checkpoints, &when);
        }
    }
    println!("{syncs} syncs, {cases} recoveries, {cut_short} of them of a script cut short");
    assert!(syncs >= 30, "{syncs} syncs are too few to prove anything");
    assert!(
        cut_short * 10 > cases * 9,
        "most freezes must cut the script short"
    );
}
