// SPDX-License-Identifier: GPL-3.0-or-later
//! A journal whose beginning was retired: the farm, its past and its mirrors begin at the baseline.

use std::{path::Path, sync::Arc, time::Duration};

use tablao_core::{Actor, Lsn, ManagerId, Request, TagId, decide::Asker};
use tablao_journal::{
    Authority, FileStore, Lsn as JournalLsn, MemoryFiles, Reader, RealFiles, raise_incarnation,
    retirable, retire_before,
};
use tablao_net::{
    clock,
    engine::{Ask, Engine, EngineOptions},
    link::{Site, protocol},
    past, retention,
};
use tablao_projections::Moment;

fn start(folder: &Path) -> Engine {
    let options = EngineOptions {
        journal_dir: folder.join("journal"),
        checkpoint_dir: folder.join("checkpoints"),
        authority: Authority::Site,
        manager: ManagerId::new(clock::new_id()),
        grace: Duration::ZERO,
    };
    Engine::start(&options).expect("the engine starts").0
}

async fn create_tag(engine: &Engine, name: &str) {
    let request = Request::CreateTag {
        tag: TagId::new(clock::new_id()),
        name: name.to_owned(),
        description: String::new(),
    };
    let ask = Ask::new(request, Actor::SYSTEM, Asker::default());
    engine.ask(ask).await.expect("it runs").expect("granted");
}

/// Seals what is there, as a restore does, so that there is a segment that can go.
fn seal(folder: &Path) -> Arc<dyn FileStore> {
    let files: Arc<dyn FileStore> = Arc::new(RealFiles::existing(folder.join("journal")));
    raise_incarnation(Arc::clone(&files), clock::now().micros(), 0).expect("risen");
    files
}

/// The farm behind a retired beginning is the same one, live and in what is told of its past; an
/// empty mirror of it begins at the baseline, follows, and is the same farm after its own restart.
#[tokio::test]
async fn a_farm_and_a_new_mirror_begin_at_the_baseline() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = start(folder.path());
    for name in ["one", "two", "three"] {
        create_tag(&engine, name).await;
    }
    engine.close();
    let files = seal(folder.path());
    let engine = start(folder.path());
    create_tag(&engine, "four").await;
    let (before, at) = (engine.model().farm().digest(), engine.view().at());
    engine.close();
    drop(engine);

    let reader = Reader::open(Arc::clone(&files)).expect("a journal");
    let sealed = retirable(files.as_ref()).expect("listed");
    assert_eq!(sealed.len(), 1);
    let baseline = retention::baseline_at(&reader, &sealed[0]).expect("folded");
    baseline.write(files.as_ref()).expect("saved");
    retire_before(&files, baseline.next, None).expect("retired");
    std::fs::remove_dir_all(folder.path().join("checkpoints")).expect("removed");

    let engine = start(folder.path());
    assert_eq!(engine.model().farm().digest(), before);
    let last_covered = Lsn::new(baseline.next.previous().get());
    let then = past::model_at(&reader, None, Moment::Position(last_covered), at);
    assert_eq!(then.expect("it is told").tags().count(), 3);
    let early = past::model_at(&reader, None, Moment::Position(Lsn::new(2)), at);
    assert!(early.is_err(), "what went is not made up");

    let mirror_files: Arc<dyn FileStore> = Arc::new(MemoryFiles::new());
    let open = || {
        let files = Arc::clone(&mirror_files);
        let (owner, id) = (engine.view().manager, engine.journal().id);
        Site::open(owner, id, files, clock::now()).expect("a mirror")
    };
    let mirror = open();
    let beginning = protocol::beginning_for(engine.view(), mirror.next()).expect("read");
    let beginning = beginning.expect("the journal has lost its own");
    let mut damaged = beginning.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    assert!(mirror.begin_at(&damaged).is_err());
    assert_eq!(mirror.next(), 1, "nothing of it was taken");
    let next = mirror.begin_at(&beginning).expect("begun");
    assert_eq!(next, baseline.next.get());
    let bytes = protocol::news(engine.view(), next, protocol::NEWS_BYTES_MAX).expect("news");
    mirror.append(&bytes).expect("it follows");
    create_tag(&engine, "five").await;
    let bytes = protocol::news(engine.view(), mirror.next(), 1 << 20).expect("news");
    mirror.append(&bytes).expect("it follows");
    let now = engine.model().farm().digest();
    assert_ne!(now, before);
    assert_eq!(mirror.view().read().farm().digest(), now);
    drop(mirror);
    let again = open();
    assert_eq!(again.view().read().farm().digest(), now);
    let mirrored = again.view().reader.oldest().expect("a journal");
    assert_eq!(mirrored, JournalLsn::new(next));
    // One that has something is not begun anew.
    let at = again.next();
    assert_eq!(again.begin_at(&beginning).expect("passed over"), at);
    assert_eq!(
        protocol::beginning_for(engine.view(), at).expect("read"),
        None
    );
    engine.close();
}
