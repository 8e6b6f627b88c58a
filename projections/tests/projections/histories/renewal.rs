// SPDX-License-Identifier: GPL-3.0-or-later
//! What a farm does over again: jobs compiled anew, tasks whose output is not wanted, frames that
//! are flawed, tasks that ran out of memory.

use super::*;
use tablao_core::{
    event::{Finding, FrameWish, FramesVerified, frame_flags},
    request::{Regeneration, Requeue},
};

impl World {
    pub(super) fn renewal(&mut self) -> Request {
        match self.chance.below(10) {
            0..=1 => self.prepare(),
            2..=3 => self.regenerate(),
            4..=5 => self.requeue(),
            6 => self.find_flaws(),
            7 => Request::WantFrames {
                wish: FrameWish {
                    job: Some(self.job()),
                    reason: self.words(),
                    ..FrameWish::default()
                },
            },
            8 => Request::NoteMemory {
                worker: self.worker(),
                bytes: self.chance.pick(&[None, Some(4), Some(8)]).flatten(),
            },
            _ => self.run_out_of_memory(),
        }
    }

    /// A job, the number of its next task, and its next generation.
    fn next_of_job(&mut self) -> (JobId, u32, u32) {
        let job = self.job();
        let entity = self.farm.jobs().get(&job);
        let next =
            |job: &tablao_core::entity::Job| (job.tasks.end(), job.state.facts.generation + 1);
        let (end, generation) = entity.map_or((0, 2), next);
        (job, end, generation)
    }

    fn prepare(&mut self) -> Request {
        let (job, first_number, generation) = self.next_of_job();
        let task = NewTask {
            uuid: TaskId::new(self.chance.uuid()),
            task_type: 0,
            priority: 50,
            depends_on: Vec::new(),
            frames: FrameRanges::default(),
            steps_total: 3,
            content_hash: [5; 32],
        };
        Request::PrepareTasks {
            job,
            generation,
            chunk: Box::new(TaskChunk {
                first_number,
                types: vec!["misc".to_owned()],
                tasks: vec![task].into(),
                detail: TasksDetail {
                    names: vec!["it came later".to_owned()],
                    command_lists: vec!["[]".to_owned()],
                    commands_of: vec![0],
                },
            }),
        }
    }

    fn regenerate(&mut self) -> Request {
        let (job, end, generation) = self.next_of_job();
        let mut first = end;
        let mut retired: Vec<(u32, u32)> = Vec::new();
        if let Some(entity) = self.farm.jobs().get(&job) {
            let prepared = (entity.tasks.iter()).find(|task| task.generation == generation);
            first = prepared.map_or(end, |task| task.number);
            for task in entity.tasks.iter().filter(|task| !task.retired) {
                let is_gone = |other: &u32| retired.iter().any(|(number, _)| number == other);
                if task.depends_on.iter().any(is_gone) || self.chance.percent(30) {
                    retired.push((task.number, task.number));
                }
            }
        }
        Request::RegenerateJob {
            regeneration: Box::new(Regeneration {
                job,
                from_generation: generation - 1,
                script_hash: [3; 32],
                retired,
                added: (first, end - first),
                detail: JobDetail {
                    name: "regenerated".to_owned(),
                    ..JobDetail::default()
                },
                reason: self.words(),
            }),
        }
    }

    fn requeue(&mut self) -> Request {
        let job = self.job();
        let mut ranges = Vec::new();
        if let Some(entity) = self.farm.jobs().get(&job) {
            for task in entity.tasks.iter().filter(|task| !task.retired) {
                if self.chance.percent(40) {
                    ranges.push((task.number, task.number));
                }
            }
        }
        Request::RequeueTasks {
            requeue: Box::new(Requeue {
                job,
                ranges,
                dependants: self.chance.percent(50),
                discard: self.chance.percent(50),
                reason: self.words(),
            }),
        }
    }

    fn find_flaws(&mut self) -> Request {
        let frames: Vec<FrameKey> = self.farm.frames().keys().collect();
        let mut findings = Vec::new();
        for key in frames.into_iter().take(6) {
            let Some(frame) = self.farm.frames().get(&key) else {
                continue;
            };
            let flags = [0, frame_flags::EMPTY, frame_flags::MISSING];
            findings.push(Finding {
                publications: frame.publications,
                maker: None,
                flags: self.chance.pick(&flags).expect("there are three"),
                seen: self.chance.percent(50).then_some([7; 32]),
                words: self.words(),
                key,
            });
        }
        let verified = findings.first().map(|finding| FramesVerified {
            shot: finding.key.shot,
            job: None,
            looked_at: 6,
            flawed: 2,
        });
        Request::FlagFrames { findings, verified }
    }

    fn run_out_of_memory(&mut self) -> Request {
        let live: Vec<AttemptId> = self.farm.attempts().keys().copied().collect();
        let Some(id) = self.chance.pick(&live) else {
            return self.prepare();
        };
        let attempt = &self.farm.attempts()[&id];
        let task = self.farm.jobs()[&attempt.job].tasks.at(attempt.task).uuid;
        Request::Report {
            report: Box::new(Report {
                worker: attempt.worker,
                task,
                attempt: Some(id),
                status: Some(TaskStatus::Failed),
                activity: None,
                steps: None,
                frames: Vec::new(),
                failure: Some(FailureReport {
                    class: FailureClass::OutOfMemory,
                    exit: None,
                    signal: Some(9),
                }),
                peak_memory_bytes: Some(1 << 30),
            }),
        }
    }
}
