// SPDX-License-Identifier: GPL-3.0-or-later
//! The farm: its digest along a history, and its way through rows and back.

use proptest::prelude::*;
use tablao_core::{
    Answer, Farm, Request, Timestamp,
    decide::{Decided, Env},
};

use crate::histories::World;

/// What two farms answer to the same request at the same moment, refusals in words.
fn answer(farm: &Farm, request: &Request, now: Timestamp) -> Result<Decided, String> {
    let env = Env {
        now,
        decision: farm.position().next(),
        seed: 7,
        key: None,
    };
    farm.decide(request, &env)
        .map_err(|refusal| refusal.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The digest that `apply` keeps up is the one that the entities have: otherwise two equal
    /// farms would be called different, or two different ones equal.
    #[test]
    fn digest_is_kept_up(seed: u64) {
        let mut world = World::renewing(seed);
        for _ in 0..40 {
            world.run(10);
            prop_assert_eq!(
                world.farm.digest(),
                world.farm.recompute_digest(),
                "at position {}",
                world.farm.position()
            );
        }
    }

    /// A farm out of rows is the farm: same rows, same digest, and the same answers to all that
    /// workers and people ask next, for as long as both live on.
    #[test]
    fn a_farm_out_of_rows_answers_alike(seed: u64, requests in 1usize..300) {
        let mut world = World::renewing(seed);
        world.run(requests);
        let mut restored = Farm::from_rows(world.farm.to_rows()).expect("rows of a farm are a farm");
        prop_assert_eq!(restored.digest(), world.farm.digest());
        prop_assert_eq!(restored.recompute_digest(), world.farm.digest());
        prop_assert!(restored.to_rows().eq(world.farm.to_rows()));
        for _ in 0..150 {
            let now = world.farm.time().plus_millis(1_000);
            for worker in world.workers().to_vec() {
                let ask = Request::AskForTask { worker };
                prop_assert_eq!(
                    answer(&restored, &ask, now),
                    answer(&world.farm, &ask, now)
                );
            }
            let before = world.history.len();
            let request = world.request();
            for recorded in &world.history[before..] {
                restored.apply(recorded);
            }
            prop_assert_eq!(
                answer(&restored, &request, now),
                answer(&world.farm, &request, now)
            );
            let before = world.history.len();
            world.ask(request);
            for recorded in &world.history[before..] {
                restored.apply(recorded);
            }
        }
        prop_assert_eq!(restored.digest(), world.farm.digest());
    }
}

/// A job without tasks is completed the moment it is ready. A job that waits for it gets its
/// turn then, not at the next restart: a farm out of rows must not know better than the live one.
#[test]
fn waiting_for_a_job_without_tasks() {
    let mut world = World::new(1);
    let register = world.request();
    world.ask(register);
    let empty = world.new_job(0, None);
    let waiting = world.new_job(1, Some(empty.facts.job));
    world.ask(Request::AcceptJob {
        job: Box::new(empty.clone()),
    });
    world.ask(Request::SubmitJob {
        job: Box::new(waiting.clone()),
    });
    let worker = world.workers()[0];
    let ask = Request::AskForTask { worker };
    let idle = answer(&world.farm, &ask, world.farm.time());
    assert_eq!(idle.map(|decided| decided.answer), Ok(Answer::NoTask));
    world.ask(Request::ReadyJob {
        job: empty.facts.job,
    });
    let busy = answer(&world.farm, &ask, world.farm.time()).expect("the worker is awake");
    let restored = Farm::from_rows(world.farm.to_rows()).expect("rows of a farm are a farm");
    assert_eq!(answer(&restored, &ask, world.farm.time()), Ok(busy.clone()));
    assert!(matches!(busy.answer, Answer::Assigned { job, .. } if job == waiting.facts.job));
}

/// The generator reaches what it is there to exercise; a property over empty farms proves nothing.
#[test]
fn histories_are_eventful() {
    let mut kinds = std::collections::BTreeMap::new();
    for seed in 0..30 {
        let mut world = World::renewing(seed);
        world.run(400);
        for recorded in world.history {
            *kinds.entry(recorded.event.kind().name).or_insert(0) += 1;
        }
    }
    let missing: Vec<&str> = tablao_core::kind::KINDS
        .iter()
        .map(|kind| kind.name)
        .filter(|name| !kinds.contains_key(name))
        .collect();
    assert!(
        missing.is_empty(),
        "never generated: {missing:?} of {kinds:?}"
    );
}
