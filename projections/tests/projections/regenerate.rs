// SPDX-License-Identifier: GPL-3.0-or-later
//! Jobs whose tasks come and go: sums and names follow, and a checkpoint has all of it.

use proptest::prelude::*;
use tablao_core::{
    JobId, Request, TaskId,
    detail::{JobDetail, TasksDetail},
    event::NewTask,
    frames::FrameRanges,
    request::{Regeneration, Requeue, TaskChunk},
};
use tablao_projections::ReadModel;
use uuid::Uuid;

use crate::{fold::fold, histories::World};

/// A task that is prepared for a job, and the exchange of it for some that go.
fn regenerate(world: &mut World, job: JobId, share: usize) {
    let Some(entity) = world.farm.jobs().get(&job) else {
        return;
    };
    let (first, generation) = (entity.tasks.end(), entity.state.facts.generation);
    let mut gone: Vec<(u32, u32)> = Vec::new();
    for task in entity.tasks.iter().filter(|task| !task.retired) {
        let is_gone = |other: &u32| gone.iter().any(|(number, _)| number == other);
        let goes = task.depends_on.iter().any(is_gone);
        if goes || world.chance.percent(share) {
            gone.push((task.number, task.number));
        }
    }
    let uuid = TaskId::new(Uuid::from_u128(u128::from(world.chance.next())));
    let task = NewTask {
        uuid,
        task_type: 0,
        priority: 50,
        depends_on: Vec::new(),
        frames: FrameRanges::default(),
        steps_total: 3,
        content_hash: [5; 32],
    };
    world.ask(Request::PrepareTasks {
        job,
        generation: generation + 1,
        chunk: Box::new(TaskChunk {
            first_number: first,
            types: vec!["misc".to_owned()],
            tasks: vec![task].into(),
            detail: TasksDetail {
                names: vec!["it came later".to_owned()],
                command_lists: vec!["[]".to_owned()],
                commands_of: vec![0],
            },
        }),
    });
    world.ask(Request::RegenerateJob {
        regeneration: Box::new(Regeneration {
            job,
            from_generation: generation,
            script_hash: [3; 32],
            retired: gone,
            added: (first, 1),
            detail: JobDetail {
                name: "regenerated".to_owned(),
                ..JobDetail::default()
            },
            reason: "the samples changed".to_owned(),
        }),
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Protects progress bars and restarts: a job's steps are those of the tasks that it has, and
    /// a model out of a checkpoint's rows knows all that the model did, also who ran what last.
    #[test]
    fn sums_follow_and_rows_have_it_all(seed: u64, share in 0usize..100) {
        let mut world = World::new(seed);
        let mut regenerated = 0;
        for _ in 0..6 {
            world.run(60);
            let jobs: Vec<JobId> = world.farm.jobs().keys().copied().collect();
            if let Some(job) = world.chance.pick(&jobs) {
                regenerate(&mut world, job, share);
                let end = world.farm.jobs().get(&job).map_or(0, |job| job.tasks.end());
                let requeue = Requeue {
                    job,
                    ranges: end.checked_sub(1).map(|last| (last, last)).into_iter().collect(),
                    dependants: true,
                    discard: true,
                    reason: "it did not look right".to_owned(),
                };
                world.ask(Request::RequeueTasks { requeue: Box::new(requeue) });
            }
        }
        let model = fold(&world.history);
        for (id, job) in world.farm.jobs() {
            let row = model.job(*id).expect("both know every job");
            let here = || job.tasks.iter().filter(|task| !task.retired);
            let total: u64 = here().map(|task| u64::from(task.steps_total)).sum();
            let done: u64 = here().map(|task| u64::from(task.steps_completed)).sum();
            prop_assert_eq!((row.steps_total, row.steps_completed), (total, done));
            regenerated += job.state.facts.generation;
            for task in job.tasks.iter() {
                prop_assert_eq!(model.task(task.uuid).map(|view| view.task), Some(task));
            }
        }
        let again = ReadModel::from_rows(model.to_rows()).expect("rows of a model are a model");
        prop_assert!(again.to_rows().eq(model.to_rows()));
        prop_assert_eq!(again.farm().digest(), model.farm().digest());
        for (id, job) in world.farm.jobs() {
            for &worker in world.workers() {
                let ran = job.tasks.iter().any(|task| task.last_worker == Some(worker));
                prop_assert_eq!(model.ran_last(*id, worker), ran);
                prop_assert_eq!(again.ran_last(*id, worker), ran);
            }
            for number in 0..job.tasks.end() {
                let restored = &again.farm().jobs()[id];
                let since = job.tasks.rendered_since(number);
                prop_assert_eq!(restored.tasks.rendered_since(number), since);
                prop_assert_eq!(restored.leaving, job.leaving);
            }
        }
        prop_assert!(world.farm.jobs().is_empty() || regenerated > 0);
    }
}
