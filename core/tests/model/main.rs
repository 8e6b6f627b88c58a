// SPDX-License-Identifier: GPL-3.0-or-later
//! The model test: random requests to the real farm and to a naive one, which must agree in
//! every answer, every refusal, every choice of a task and every status after every step.
//!
//! `TABLAO_SEED` runs one seed alone, `TABLAO_SOAK` runs twenty times as many. The mutant test
//! runs this test against farms with one rule changed, each of which it must find.

#[path = "../common/mod.rs"]
mod common;

mod bridge;
mod compare;
mod counters;
mod naive;

use common::{
    Ride,
    random::Wishes,
    seeds::{Announce, seeds},
};
use compare::DoneOnce;
use counters::Counters;
use naive::NaiveFarm;
use tablao_core::{Answer, Event, Request, WorkerId, event::AttemptOutcome};

/// Requests in one history. Short ones repeat beginnings, long ones repeat the same mess.
const STEPS: usize = 250;

/// Protects the rules of the farm: whatever is asked in whatever order, the indexed and
/// event-sourced farm does what the naive one does, and no invariant breaks on the way.
#[test]
fn the_farm_does_what_the_naive_farm_does() {
    let seeds = seeds(200);
    let mut counters = Counters::default();
    for &seed in &seeds {
        history(seed, &mut counters);
    }
    if seeds.len() > 1 {
        counters.saw_enough();
    }
}

fn history(seed: u64, counters: &mut Counters) {
    let _announce = Announce { seed };
    let mut wishes = Wishes::new(seed);
    let mut ride = Ride::new();
    let mut naive = NaiveFarm::new(bridge::rules(ride.farm.policy()));
    let mut done = DoneOnce::default();
    let trace = std::env::var_os("TABLAO_SEED").is_some();
    for _ in 0..STEPS {
        ride.wait_ms(wishes.pause_ms(&ride.farm, ride.now));
        let request = wishes.next(&ride.farm, ride.now);
        if trace {
            eprintln!("{request:?}");
        }
        step(&mut ride, &mut naive, &mut done, &request, counters);
    }
    assert_eq!(
        ride.farm.digest(),
        ride.farm.recompute_digest(),
        "the digest kept along is that of the entities"
    );
}

fn step(
    ride: &mut Ride,
    naive: &mut NaiveFarm,
    done: &mut DoneOnce,
    request: &Request,
    counters: &mut Counters,
) {
    let before = ride.farm.clone();
    let recorded = ride.records.len();
    let heard = ride.ask(request);
    let (events, answer) = match &heard {
        Ok(heard) => (heard.events.as_slice(), Ok(bridge::said(&heard.answer))),
        Err(refusal) => (&[][..], Err(bridge::no(refusal))),
    };
    if std::env::var_os("TABLAO_SEED").is_some() {
        eprintln!("    {answer:?} {events:?}");
    }
    let label = match &heard {
        Ok(common::Heard {
            answer: Answer::Assigned { attempt, .. },
            ..
        }) => Some(*attempt),
        _ => None,
    };
    if let Request::AskForTask { worker } = request {
        naive.now = bridge::clock(ride.now);
        same_choice(&before, naive, *worker, events);
    }
    if let Some(expected) = bridge::tell(naive, request, ride.now, label) {
        assert_eq!(answer, expected, "the answer to {request:?}");
    }
    counters.count(request, &heard, events);
    let fresh = &ride.records[recorded..];
    for record in fresh {
        counters.count_reason(&record.event, record.detail.reason_text());
        if let Event::AttemptEnded(ended) = &record.event
            && ended.outcome == AttemptOutcome::Completed
            && before.attempts()[&ended.attempt].stop.is_some()
        {
            counters.note_completed_while_stopping();
        }
    }
    compare::same_state(&ride.farm, naive);
    compare::sound_state(&ride.farm);
    compare::sound_assignment(&before, events);
    compare::endings_last(&before, &ride.farm, request, events);
    done.watch(
        if ride.farm.jobs().len() < before.jobs().len() {
            &before
        } else {
            &ride.farm
        },
        events,
    );
}

/// The task given, and the one that would have been next, are the first two that the naive
/// farm finds by looking at everything.
fn same_choice(before: &tablao_core::Farm, naive: &NaiveFarm, worker: WorkerId, events: &[Event]) {
    let assigned = events.iter().find_map(|event| match event {
        Event::AttemptAssigned(assigned) => Some(assigned),
        _ => None,
    });
    let Some(assigned) = assigned else {
        return;
    };
    let worker = (naive.workers.iter())
        .find(|known| known.id == worker)
        .expect("a task was given to it");
    let places: Vec<_> = naive
        .startable(worker)
        .iter()
        .map(|task| (task.job, task.number))
        .collect();
    // Where nothing waits, what another one holds and has not come to is taken back.
    let held = || {
        let task = naive.held_for(worker).and_then(|id| naive.task(id));
        task.map(|task| (task.job, task.number))
    };
    assert_eq!(
        Some((assigned.job, assigned.task)),
        places.first().copied().or_else(held),
        "the best task of {} jobs",
        before.jobs().len()
    );
    assert_eq!(
        assigned.runner_up.as_ref(),
        places.get(1),
        "the task that would have been next"
    );
}
