// SPDX-License-Identifier: GPL-3.0-or-later
//! Checkpoints are a cache: with them, without them, or with damaged ones, the view is the same.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tablao_core::{Lsn, Recorded};
use tablao_projections::{CHECKPOINT_VERSION, Checkpoints, Moment, ReadModel, Stamp};
use tempfile::TempDir;

use crate::{
    fold::fold,
    histories::{Chance, World, history},
};

const JOURNAL: [u8; 16] = [9; 16];
const INCARNATION: u32 = 1;

/// A stand-in for the journal's chain: what it is at a position depends on all before it.
fn chain(history: &[Recorded], lsn: Lsn) -> Option<[u8; 32]> {
    let before = history.get(..usize::try_from(lsn.get()).ok()?)?;
    let mut hasher = blake3::Hasher::new();
    for recorded in before {
        hasher.update(&recorded.event.encode_facts());
    }
    Some(*hasher.finalize().as_bytes())
}

fn stamp(history: &[Recorded], lsn: Lsn) -> Stamp {
    let chain = chain(history, lsn).expect("the history reaches there");
    Stamp::new(JOURNAL, INCARNATION, lsn, chain)
}

fn save(checkpoints: &Checkpoints, history: &[Recorded], length: usize) {
    let model = fold(&history[..length]);
    checkpoints
        .save(stamp(history, model.farm().position()), &model)
        .expect("the disk is sound");
}

fn load(checkpoints: &Checkpoints, history: &[Recorded]) -> Option<(Stamp, ReadModel)> {
    checkpoints.load(JOURNAL, INCARNATION, |lsn| chain(history, lsn))
}

/// What a start does: the checkpoint if there is one, and the records after it.
fn start(checkpoints: &Checkpoints, history: &[Recorded]) -> (Option<Lsn>, ReadModel) {
    let (from, mut model) = match load(checkpoints, history) {
        Some((stamp, model)) => (Some(stamp.lsn), model),
        None => (None, ReadModel::new()),
    };
    let done = usize::try_from(model.farm().position().get()).expect("small");
    history[done..]
        .iter()
        .for_each(|recorded| model.apply(recorded));
    (from, model)
}

fn same(left: &ReadModel, right: &ReadModel) -> bool {
    left.farm().digest() == right.farm().digest() && left.to_rows().eq(right.to_rows())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create a folder");
    for entry in fs::read_dir(from).expect("list a folder") {
        let entry = entry.expect("list a folder");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copy a file");
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("list a folder") {
        let path = entry.expect("list a folder").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A restart from a checkpoint at any point, and the records after it, is a full replay;
    /// also over several checkpoints of which each writes only what changed.
    #[test]
    fn checkpoint_and_tail_equal_full_replay(
        seed: u64,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
    ) {
        let mut world = World::renewing(seed);
        world.run(250);
        let history = world.history;
        let full = fold(&history);
        let folder = TempDir::new().expect("create a folder");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(history.len() + 1)).collect();
        cuts.sort_unstable();
        for &cut in &cuts {
            // Sometimes by the same process, sometimes by the next one.
            let checkpoints = Checkpoints::open(folder.path().join("checkpoints"));
            load(&checkpoints, &history);
            save(&checkpoints, &history, cut / 2);
            save(&checkpoints, &history, cut);
            let loaded = load(&checkpoints, &history).expect("it was just saved");
            prop_assert!(same(&loaded.1, &fold(&history[..loaded.0.lsn.get() as usize])));
        }
        let checkpoints = Checkpoints::open(folder.path().join("checkpoints"));
        let (from, model) = start(&checkpoints, &history);
        prop_assert_eq!(from.map(Lsn::get), cuts.last().map(|&cut| cut as u64));
        prop_assert!(same(&model, &full));
    }

    /// Whatever happens to the bytes of the store: the start succeeds, the view is that of a full
    /// replay, and the store works again for the next checkpoint.
    #[test]
    fn garbled_stores_heal(seed: u64) {
        let mut chance = Chance::new(seed);
        let history = history(seed, 120);
        let full = fold(&history);
        let folder = TempDir::new().expect("create a folder");
        let store = folder.path().join("checkpoints");
        {
            let checkpoints = Checkpoints::open(&store);
            for part in 1..=3 {
                save(&checkpoints, &history, history.len() * part / 4);
            }
        }
        for _ in 0..=chance.below(3) {
            garble(&store, &mut chance);
        }
        {
            let checkpoints = Checkpoints::open(&store);
            let (_, model) = start(&checkpoints, &history);
            prop_assert!(same(&model, &full));
            // A first save may find damage that no reading met; the second one is on new ground.
            let position = full.farm().position();
            let stamp = stamp(&history, position);
            if checkpoints.save(stamp, &full).is_err() {
                checkpoints.save(stamp, &full).expect("the store was begun anew");
            }
        }
        let checkpoints = Checkpoints::open(&store);
        let (_, model) = start(&checkpoints, &history);
        prop_assert!(same(&model, &full));
    }

    /// A process may be killed at any write of a save. What is on the disk then is the former
    /// checkpoint or the new one, never parts of both.
    #[test]
    fn killed_while_saving(seed: u64) {
        let history = history(seed, 120);
        let full = fold(&history);
        let folder = TempDir::new().expect("create a folder");
        let store = folder.path().join("checkpoints");
        let checkpoints = Checkpoints::open(&store);
        let (old, new) = (history.len() / 3, history.len() * 2 / 3);
        save(&checkpoints, &history, old);
        // Copies are taken while the other thread saves: each is what a kill would leave.
        let copies: Vec<PathBuf> = std::thread::scope(|scope| {
            let saving = scope.spawn(|| save(&checkpoints, &history, new));
            let mut copies = Vec::new();
            while !saving.is_finished() && copies.len() < 20 {
                let target = folder.path().join(format!("copy-{}", copies.len()));
                copy(&store, &target);
                copies.push(target);
            }
            copies
        });
        for target in copies {
            let (from, model) = start(&Checkpoints::open(&target), &history);
            let from = from.map(|lsn| usize::try_from(lsn.get()).expect("small"));
            prop_assert!(from == Some(old) || from == Some(new) || from.is_none());
            prop_assert!(same(&model, &full));
        }
    }
}

/// Damages one file as disks and people do.
fn garble(store: &Path, chance: &mut Chance) {
    let files = files(store);
    let Some(path) = files.get(chance.below(files.len())) else {
        return;
    };
    let mut bytes = fs::read(path).expect("read a file");
    match chance.below(6) {
        0 => return fs::remove_file(path).expect("remove a file"),
        1 => bytes.truncate(chance.below(bytes.len())),
        2 => bytes.fill(0),
        3 => {
            let first = chance.below(bytes.len());
            let end = (first + 4096).min(bytes.len());
            for byte in &mut bytes[first..end] {
                *byte = chance.next() as u8;
            }
        }
        _ => {
            // Most of a small store is empty: damage what is not.
            let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
            for _ in 0..=chance.below(20) {
                if let Some(at) = chance.pick(&used) {
                    bytes[at] ^= 1 << chance.below(8);
                }
            }
        }
    }
    fs::write(path, bytes).expect("write a file");
}

/// A store with a checkpoint at the end of a history.
fn saved() -> (TempDir, PathBuf, Vec<Recorded>) {
    let history = history(1, 60);
    let folder = TempDir::new().expect("create a folder");
    let store = folder.path().join("checkpoints");
    save(&Checkpoints::open(&store), &history, history.len());
    (folder, store, history)
}

/// Whoever deletes the store, or puts something else in its place, loses time and nothing else.
#[test]
fn a_deleted_store_is_made_anew() {
    let (_folder, store, history) = saved();
    fs::remove_dir_all(&store).expect("remove the store");
    let (from, model) = start(&Checkpoints::open(&store), &history);
    assert!(from.is_none() && same(&model, &fold(&history)));
    fs::remove_dir_all(&store).expect("remove the store");
    fs::write(&store, "not a folder").expect("write a file");
    let checkpoints = Checkpoints::open(&store);
    let (from, model) = start(&checkpoints, &history);
    assert!(from.is_none() && same(&model, &fold(&history)));
    save(&checkpoints, &history, history.len());
    assert!(load(&checkpoints, &history).is_some());
}

/// A journal restored from an old copy is shorter than the checkpoint made of the lost part:
/// what the checkpoint knows beyond it never happened, so it is not used.
#[test]
fn a_store_ahead_of_its_journal_is_discarded() {
    let (_folder, store, history) = saved();
    let restored = &history[..history.len() - 1];
    let checkpoints = Checkpoints::open(&store);
    let (from, model) = start(&checkpoints, restored);
    assert!(from.is_none() && same(&model, &fold(restored)));
    // The restored farm lives on, differently, beyond the old checkpoint's position.
    let mut other = World::new(2);
    other.run(200);
    assert!(other.history.len() > history.len());
    let (from, model) = start(&checkpoints, &other.history);
    assert!(from.is_none() && same(&model, &fold(&other.history)));
    save(&checkpoints, restored, restored.len());
    let (from, _) = start(&checkpoints, restored);
    assert_eq!(from.map(Lsn::get), Some(restored.len() as u64));
}

/// Each part of the stamp by itself decides: another journal, incarnation, chain or version.
#[test]
fn any_mismatch_of_the_stamp_discards() {
    let (_folder, store, history) = saved();
    let checkpoints = Checkpoints::open(&store);
    let verify = |lsn| chain(&history, lsn);
    assert!(checkpoints.load([8; 16], INCARNATION, verify).is_none());
    assert!(checkpoints.load(JOURNAL, INCARNATION + 1, verify).is_none());
    assert!(
        checkpoints
            .load(JOURNAL, INCARNATION, |_| Some([0; 32]))
            .is_none()
    );
    assert!(checkpoints.load(JOURNAL, INCARNATION, verify).is_some());
    let model = fold(&history);
    let of_another_build = Stamp {
        version: CHECKPOINT_VERSION + 1,
        ..stamp(&history, model.farm().position())
    };
    let folder = TempDir::new().expect("create a folder");
    let checkpoints = Checkpoints::open(folder.path().join("checkpoints"));
    checkpoints
        .save(of_another_build, &model)
        .expect("the disk is sound");
    assert!(load(&checkpoints, &history).is_none());
}

/// A file system may lose a file and come up with that of another checkpoint, sound by itself.
/// The seal names every piece by hash: that is what tells.
#[test]
fn sound_rows_of_another_moment_are_noticed() {
    let (_folder, store, history) = saved();
    let (_other_folder, other_store, _) = saved();
    save(
        &Checkpoints::open(&other_store),
        &history,
        history.len() - 20,
    );
    let pack = |store: &Path, number: u64| store.join(format!("packs/{number:020}.pack"));
    fs::copy(pack(&other_store, 2), pack(&store, 1)).expect("copy a file");
    let checkpoints = Checkpoints::open(&store);
    let (from, model) = start(&checkpoints, &history);
    assert!(from.is_none() && same(&model, &fold(&history)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Any moment of a history can be put together from the checkpoint before it and the records
    /// since, however many checkpoints there were, and it is what a fold up to there gives.
    #[test]
    fn any_moment_from_the_checkpoint_before_it(
        seed: u64,
        every in 5usize..60,
        asked in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let history = history(seed, 200);
        let folder = TempDir::new().expect("create a folder");
        let checkpoints = Checkpoints::open(folder.path().join("checkpoints"));
        for cut in (every..=history.len()).step_by(every) {
            save(&checkpoints, &history, cut);
        }
        for asked in asked {
            let until = asked.index(history.len() + 1);
            let moment = match history.get(until.wrapping_sub(1)) {
                Some(last) if until.is_multiple_of(2) => Moment::Time(last.at),
                _ => Moment::Position(Lsn::new(until as u64)),
            };
            // Several records may have the time of the one asked for.
            let until = match moment {
                Moment::Position(_) => until,
                Moment::Time(time) => history.partition_point(|recorded| recorded.at <= time),
            };
            let found = checkpoints.load_before(JOURNAL, moment, |lsn| chain(&history, lsn));
            let (from, mut model) = match found {
                Some((stamp, model)) => (stamp.lsn.get() as usize, model),
                None => (0, ReadModel::new()),
            };
            prop_assert!(from <= until);
            let gap = (history.len() / 10).max(2 * every);
            prop_assert!(until - from <= gap, "{} from {} of {}", until, from, history.len());
            history[from..until].iter().for_each(|recorded| model.apply(recorded));
            prop_assert!(same(&model, &fold(&history[..until])));
        }
    }
}

/// A store that took the process down while it was opened is not tried a second time.
#[test]
fn a_store_that_kills_its_process_is_deleted() {
    let (folder, store, history) = saved();
    fs::write(folder.path().join("checkpoints.opening"), []).expect("write a file");
    let checkpoints = Checkpoints::open(&store);
    assert!(load(&checkpoints, &history).is_none());
    save(&checkpoints, &history, history.len());
    drop(checkpoints);
    assert!(load(&Checkpoints::open(&store), &history).is_some());
}

/// Somebody's name was erased from the journal: no file beside it may remember it.
#[test]
fn forgotten_checkpoints_leave_nothing() {
    let (folder, store, history) = saved();
    let holds_name = |folder: &Path| {
        files(folder).iter().any(|path| {
            let bytes = fs::read(path).expect("read a file");
            bytes.windows(8).any(|window| window == b"somebody")
        })
    };
    assert!(holds_name(folder.path()));
    let checkpoints = Checkpoints::open(&store);
    checkpoints.forget();
    assert!(!holds_name(folder.path()));
    assert!(load(&checkpoints, &history).is_none());
    save(&checkpoints, &history, history.len());
    assert!(load(&checkpoints, &history).is_some());
}

/// A checkpoint costs what changed, not what there is: a second save of an unchanged farm writes
/// no rows.
#[test]
fn unchanged_rows_are_not_written_again() {
    let (_folder, store, history) = saved();
    let checkpoints = Checkpoints::open(&store);
    let model = fold(&history);
    let stamp = stamp(&history, model.farm().position());
    checkpoints.save(stamp, &model).expect("the disk is sound");
    checkpoints.save(stamp, &model).expect("the disk is sound");
    let written = checkpoints.save(stamp, &model).expect("the disk is sound");
    assert_eq!(written.new_pieces, 0);
    assert!(written.shared_pieces > 0);
    assert!(same(
        &load(&checkpoints, &history).expect("it was saved").1,
        &model
    ));
}
