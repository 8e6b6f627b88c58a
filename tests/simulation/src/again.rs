// SPDX-License-Identifier: GPL-3.0-or-later
//! People have work done again: all of a job, or a part of it, compiled anew.

use tablao_core::{
    JobId, Request,
    detail::JobDetail,
    request::{Regeneration, Requeue},
};

use crate::client::{by_a_person, chunk_of};
use crate::keeper::For;
use crate::world::World;

impl World {
    /// All tasks of a job that are part of it are to be done again, at its Manager.
    pub(crate) fn have_done_again(&mut self, job: JobId, n: usize) -> Result<(), String> {
        let (_, numbers) = self.tasks_of(job, n);
        if numbers.is_empty() {
            return Ok(());
        }
        let requeue = Requeue {
            job,
            ranges: numbers.iter().map(|&number| (number, number)).collect(),
            dependants: false,
            discard: false,
            reason: "meddling".to_owned(),
        };
        let requeue = Box::new(requeue);
        let ask = by_a_person(Request::RequeueTasks { requeue });
        self.manager_ask(n, ask, 0, For::Nobody)
    }

    /// The second half of a job's tasks, which waits for the first, is exchanged for as many.
    pub(crate) fn have_compiled_anew(&mut self, job: JobId, n: usize) -> Result<(), String> {
        let (generation, numbers) = self.tasks_of(job, n);
        let Some(engine) = self.engine_of(n) else {
            return Ok(());
        };
        let first = (engine.model().farm().jobs().get(&job)).map_or(0, |job| job.tasks.end());
        let (stays, goes) = numbers.split_at(numbers.len() / 2);
        if goes.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(goes.len()).expect("few tasks");
        let chunk = Box::new(chunk_of(job, first..first + count, stays));
        let generation = generation + 1;
        let prepare = Request::PrepareTasks {
            job,
            generation,
            chunk,
        };
        let regeneration = Box::new(Regeneration {
            job,
            from_generation: generation - 1,
            script_hash: [8; 32],
            retired: goes.iter().map(|&number| (number, number)).collect(),
            added: (first, count),
            detail: JobDetail::default(),
            reason: "meddling".to_owned(),
        });
        self.manager_ask(n, by_a_person(prepare), 0, For::Nobody)?;
        // Between the two the Manager may have died of the first.
        if self.engine_of(n).is_none() {
            return Ok(());
        }
        let regenerate = Request::RegenerateJob { regeneration };
        self.manager_ask(n, by_a_person(regenerate), 0, For::Nobody)
    }

    /// Generation of a job and numbers of the tasks that are part of it.
    fn tasks_of(&self, job: JobId, n: usize) -> (u32, Vec<u32>) {
        let model = self.engine_of(n).map(|engine| engine.model());
        let known = model
            .as_ref()
            .and_then(|model| model.farm().jobs().get(&job));
        known.map_or((0, Vec::new()), |known| {
            let tasks = known.tasks.iter().filter(|task| !task.retired);
            let numbers = tasks.map(|task| task.number).collect();
            (known.state.facts.generation, numbers)
        })
    }
}
