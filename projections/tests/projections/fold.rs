// SPDX-License-Identifier: GPL-3.0-or-later
//! The read model against the oracle, and against small histories told by hand.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tablao_core::{JobId, Recorded, ShotId, entity::FrameKey};
use tablao_projections::{AttemptPhase, FrameRow, ReadModel};

use crate::{histories::history, naive::Naive};

pub(crate) fn fold(history: &[Recorded]) -> ReadModel {
    let mut model = ReadModel::new();
    history.iter().for_each(|recorded| model.apply(recorded));
    model
}

fn check_jobs(model: &ReadModel, naive: &Naive<'_>) -> Result<(), TestCaseError> {
    let mut by_age: Vec<_> = naive.farm.jobs().values().collect();
    by_age.sort_by_key(|job| job.state.sequence);
    let expected: Vec<JobId> = by_age.iter().map(|job| job.state.facts.job).collect();
    prop_assert_eq!(model.jobs().map(|row| row.id).collect::<Vec<_>>(), expected);
    for job in by_age {
        let id = job.state.facts.job;
        let row = model.job(id).expect("it was listed");
        let done = job.tasks.iter().map(|task| u64::from(task.steps_completed));
        let total = job.tasks.iter().map(|task| u64::from(task.steps_total));
        prop_assert_eq!(row.steps_completed, done.sum::<u64>());
        prop_assert_eq!(row.steps_total, total.sum::<u64>());
        prop_assert_eq!(Some(row.updated), naive.job_updated(id));
        prop_assert_eq!(&row.activity, naive.job_activity(id));
        prop_assert_eq!(row.created, job.state.facts.created);
    }
    Ok(())
}

fn check_tasks(model: &ReadModel, naive: &Naive<'_>) -> Result<(), TestCaseError> {
    for job in naive.farm.jobs().values() {
        let id = job.state.facts.job;
        prop_assert_eq!(model.tasks(id).count(), job.tasks.len());
        // Looking through the whole history for each of hundreds of tasks is what takes time.
        for task in job.tasks.iter().step_by(1 + job.tasks.len() / 20) {
            let view = model.task(task.uuid).expect("the farm has it");
            let (created, place, words) = naive.task_chunk(id, task.number).expect("it was added");
            prop_assert_eq!(view.task, task);
            prop_assert_eq!(view.created, created);
            prop_assert_eq!(Some(view.updated), naive.task_updated(id, task.number));
            prop_assert_eq!(view.activity, naive.task_activity(id, task.number));
            let name = words.map_or("", |words| words.names[place].as_str());
            let texts = view.texts();
            prop_assert_eq!(texts.name(), name);
            let commands = words.map_or("[]", |words| {
                words.command_lists[words.commands_of[place] as usize].as_str()
            });
            prop_assert_eq!(texts.commands(), commands);
            // What is still to come in a later chunk cannot be named yet.
            let known: Vec<_> = (task.depends_on.iter())
                .filter_map(|&other| Some(job.tasks.get(other as usize)?.uuid))
                .collect();
            prop_assert_eq!(view.depends_on().collect::<Vec<_>>(), known);
            check_attempts(model, naive, id, task.number)?;
        }
    }
    Ok(())
}

fn check_attempts(
    model: &ReadModel,
    naive: &Naive<'_>,
    job: JobId,
    number: u32,
) -> Result<(), TestCaseError> {
    let task = naive.farm.jobs()[&job].tasks.at(number);
    let rows = model.attempts(task.uuid);
    let attempts = naive.attempts(job, number);
    prop_assert_eq!(rows.len(), attempts.len());
    for (row, attempt) in rows.iter().zip(attempts) {
        prop_assert_eq!(row.id.lsn, attempt.position);
        prop_assert_eq!((row.task, row.number), (task.uuid, number));
        prop_assert_eq!(row.worker, attempt.worker);
        prop_assert_eq!(row.assigned, attempt.assigned);
        prop_assert_eq!(row.started, attempt.started);
        prop_assert_eq!(row.ended.zip(row.outcome), attempt.ended);
        let phase = match (attempt.ended, attempt.stopping, attempt.started) {
            (Some(_), ..) => AttemptPhase::Ended,
            (None, true, _) => AttemptPhase::Stopping,
            (None, false, Some(_)) => AttemptPhase::Running,
            (None, false, None) => AttemptPhase::Assigned,
        };
        prop_assert_eq!(row.state, phase);
        let live = naive.farm.attempts().contains_key(&row.id);
        prop_assert_eq!(live, row.state != AttemptPhase::Ended);
    }
    Ok(())
}

fn keys(rows: impl IntoIterator<Item = FrameRow>) -> Vec<FrameKey> {
    rows.into_iter().map(|row| row.key).collect()
}

fn check_frames(model: &ReadModel, naive: &Naive<'_>) -> Result<(), TestCaseError> {
    let frames = naive.frames();
    let mut expected: Vec<&FrameKey> = frames.keys().collect();
    expected.sort_by_key(|key| (key.shot, key.number, &key.output, &key.view));
    let expected: Vec<FrameKey> = expected.into_iter().cloned().collect();
    prop_assert_eq!(&keys(model.frames()), &expected);
    for (key, (recorded, facts)) in &frames {
        let row = model.frame(key).expect("it was listed");
        prop_assert_eq!((row.position, row.published), (recorded.lsn, recorded.at));
        prop_assert_eq!(
            (row.job, row.attempt, row.hash),
            (facts.job, facts.attempt, facts.hash)
        );
        let task = naive.farm.jobs()[&facts.job].tasks.at(facts.task);
        prop_assert_eq!(row.task, task.uuid);
        let attempts = naive.attempts(facts.job, facts.task);
        let by = attempts
            .iter()
            .find(|attempt| attempt.position == facts.attempt.lsn);
        prop_assert_eq!(Some(row.worker), by.map(|attempt| attempt.worker));
        prop_assert_eq!(&row.thumbnail, &naive.thumbnail(key, recorded.lsn));
    }
    let mut newest = expected.clone();
    newest.sort_by_key(|key| std::cmp::Reverse(frames[key].0.lsn));
    for limit in [0, 1, 5, usize::MAX] {
        let shown = keys(model.newest_frames().take(limit));
        prop_assert_eq!(&shown, &newest[..limit.min(newest.len())]);
    }
    for job in naive.farm.jobs().keys() {
        let of_job = expected.iter().filter(|key| frames[key].1.job == *job);
        let of_job: Vec<FrameKey> = of_job.cloned().collect();
        prop_assert_eq!(keys(model.frames_of_job(*job)), of_job);
        let last = newest.iter().find(|key| frames[key].1.job == *job);
        prop_assert_eq!(
            model.job(*job).and_then(|row| row.last_frame.as_ref()),
            last
        );
    }
    let shots: BTreeSet<ShotId> = (naive.farm.jobs().values())
        .map(|job| job.state.facts.shot)
        .chain(expected.iter().map(|key| key.shot))
        .collect();
    let shown: Vec<ShotId> = model.shots().map(|shot| shot.id).collect();
    prop_assert_eq!(shown, shots.into_iter().collect::<Vec<_>>());
    for shot in model.shots() {
        let of_shot = expected.iter().filter(|key| key.shot == shot.id);
        let of_shot: Vec<FrameKey> = of_shot.cloned().collect();
        prop_assert_eq!(shot.frames, of_shot.len());
        let last = of_shot.iter().map(|key| frames[key].0.at).max();
        prop_assert_eq!(shot.last_frame_at, last);
        prop_assert_eq!(keys(model.frames_of_shot(shot.id)), of_shot);
        let jobs = naive.farm.jobs().values();
        let jobs = jobs.filter(|job| job.state.facts.shot == shot.id).count();
        prop_assert_eq!(shot.jobs, jobs);
    }
    Ok(())
}

fn check_rest(model: &ReadModel, naive: &Naive<'_>) -> Result<(), TestCaseError> {
    let workers = naive.farm.workers().values();
    let present: Vec<_> = workers
        .filter(|worker| !worker.deleted)
        .map(|worker| worker.id)
        .collect();
    prop_assert_eq!(
        model.workers().map(|row| row.id).collect::<Vec<_>>(),
        present
    );
    for id in naive.farm.workers().keys() {
        let row = model.worker(*id).expect("removed workers keep their rows");
        prop_assert_eq!(&row.detail, &naive.worker_detail(*id));
        prop_assert_eq!(row.last_task, naive.last_task(*id));
        let quarantine = model.quarantine(*id).map(|(_, reason)| reason);
        prop_assert_eq!(quarantine, naive.quarantine(*id));
    }
    let tags: Vec<_> = naive.farm.tags().keys().copied().collect();
    prop_assert_eq!(model.tags().map(|row| row.id).collect::<Vec<_>>(), tags);
    let placed: Vec<_> = naive.farm.placements().keys().copied().collect();
    prop_assert_eq!(
        model.placements().map(|row| row.job).collect::<Vec<_>>(),
        placed
    );
    for row in model.managers() {
        let facts = naive.farm.managers().get(&row.id);
        prop_assert!(facts.is_some());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// The read model is kept up step by step; that must say what the history says as a whole.
    #[test]
    fn says_what_the_history_says(seed: u64, requests in 1usize..350) {
        let history = history(seed, requests);
        let (model, naive) = (fold(&history), Naive::new(&history));
        prop_assert_eq!(model.farm().digest(), naive.farm.digest());
        check_jobs(&model, &naive)?;
        check_tasks(&model, &naive)?;
        check_frames(&model, &naive)?;
        check_rest(&model, &naive)?;
    }
}
