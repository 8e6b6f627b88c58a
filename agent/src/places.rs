// SPDX-License-Identifier: GPL-3.0-or-later
//! The places of a Worker: each runs the programs of one task at a time, with its own share of the
//! machine and its own Blender that stays up.
//!
//! Which task comes next is not known here; a task waits for a place and gives it back by itself.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::SLOTS_MAX;
use crate::blender::warm::{Warm, WarmLimits};
use crate::groups::SlotGroup;
use crate::process::Launcher;
use crate::supervisor::Limits;

/// What a program may have of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Numbers of the processors that it may run on; empty means all.
    pub(crate) processors: Vec<usize>,
    /// Bytes of memory that it may have: with all that it starts where a group limits it, else
    /// each process by itself.
    pub(crate) memory_bytes: Option<u64>,
    /// The control group that keeps it to its share, where there is one.
    pub(crate) group: Option<SlotGroup>,
    /// Added to its environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// How a Worker with several places divides its machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// How processors are divided.
    pub processors: Processors,
    /// Bytes of memory that a program in one place may have; none for no limit.
    pub memory_bytes: Option<u64>,
    /// What programs are kept to their share by.
    pub limits_by: LimitsBy,
    /// Graphics cards, by the number or name that their drivers know: the first is for the first
    /// place, and so on, over again when there are more places. Empty leaves all to everybody.
    pub graphics: Vec<String>,
    /// What Cycles renders on (`CPU`, `CUDA`, `OPTIX`, `HIP`, `ONEAPI`, `METAL`; with `+CPU`, on both),
    /// whatever scene and settings say; none leaves it to them.
    pub cycles_device: Option<String>,
}

/// What programs are kept to their share of processors and memory by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitsBy {
    /// Control groups where this Worker may make them, else the limits of single processes.
    #[default]
    Automatic,
    /// Control groups; a Worker that cannot make them does not start.
    Groups,
    /// Limits of single processes.
    Resource,
}

/// How the processors of a machine are divided among places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Processors {
    /// Evenly, if there are as many as places.
    #[default]
    Even,
    /// Everybody may run on all.
    All,
    /// These sets of numbers, one for each place.
    Sets(Vec<Vec<usize>>),
}

/// Less than this is a mistake in the unit.
const MEMORY_MIN: u64 = 16 * 1024 * 1024;

/// Numbers of the processors that this process may run on; none where the system does not say.
pub(crate) fn own_processors() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    {
        use nix::sched::{CpuSet, sched_getaffinity};
        let own =
            sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::count())
            .filter(|&number| own.is_set(number).unwrap_or(false))
            .collect()
    }
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Bytes of memory that this machine has; none where the system does not say.
pub(crate) fn own_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Drivers that can be told by the environment which card a program sees.
const GRAPHICS_VARIABLES: [&str; 3] = [
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
];

impl Division {
    /// The share of each of `count` places of a machine that lets us run on `processors`; words
    /// where it has no such shares.
    pub(crate) fn shares(&self, count: usize, processors: &[usize]) -> Result<Vec<Share>, String> {
        if !(1..=SLOTS_MAX as usize).contains(&count) {
            return Err(format!(
                "there are 1 to {SLOTS_MAX} slots, and {count} were asked for; start another worker with a --data of its own for more"
            ));
        }
        self.check(count, processors)?;
        let shares = (0..count)
            .map(|place| Share {
                processors: match &self.processors {
                    Processors::Even if count > 1 && processors.len() >= count => {
                        let edge = |place: usize| place * processors.len() / count;
                        processors[edge(place)..edge(place + 1)].to_vec()
                    }
                    Processors::Even | Processors::All => Vec::new(),
                    Processors::Sets(sets) => sets.get(place).cloned().unwrap_or_default(),
                },
                memory_bytes: self.memory_bytes,
                group: None,
                environment: self.environment(place),
            })
            .collect();
        Ok(shares)
    }

    /// Bytes of memory that a task may count on, on a machine with so many.
    pub(crate) fn memory_of_one(&self, count: u32, machine: Option<u64>) -> Option<u64> {
        let share = machine.map(|bytes| bytes / u64::from(count));
        match (self.memory_bytes, machine) {
            (Some(limit), Some(machine)) => Some(limit.min(machine)),
            (limit, _) => limit.or(share),
        }
    }

    fn check(&self, count: usize, processors: &[usize]) -> Result<(), String> {
        let limited = self.memory_bytes.is_some() || matches!(self.processors, Processors::Sets(_));
        if limited && !cfg!(target_os = "linux") {
            return Err(
                "only Linux keeps programs to processors and to an amount of memory".to_owned(),
            );
        }
        if self.memory_bytes.is_some_and(|bytes| bytes < MEMORY_MIN) {
            let least = MEMORY_MIN / (1024 * 1024);
            return Err(format!("no program starts in less than {least} MiB"));
        }
        let Processors::Sets(sets) = &self.processors else {
            return Ok(());
        };
        if sets.len() != count {
            let sets = sets.len();
            return Err(format!(
                "{sets} sets of processors for {count} slots; give one for each"
            ));
        }
        match sets
            .iter()
            .flatten()
            .find(|number| !processors.contains(number))
        {
            Some(number) => Err(format!(
                "processor {number} is not there or not for us; there are {processors:?}"
            )),
            None => Ok(()),
        }
    }

    fn environment(&self, place: usize) -> Vec<(String, String)> {
        let card =
            (!self.graphics.is_empty()).then(|| self.graphics[place % self.graphics.len()].clone());
        let cards = card.into_iter().flat_map(|card| {
            GRAPHICS_VARIABLES.map(|variable| (variable.to_owned(), card.clone()))
        });
        std::iter::once(("TABLAO_SLOT".to_owned(), (place + 1).to_string()))
            .chain(cards)
            .collect()
    }
}

impl Share {
    /// What the supervisor keeps a program to.
    pub(crate) fn limits(&self, oom_score_adj: Option<i32>) -> Limits {
        Limits {
            oom_score_adj,
            processors: self.processors.clone(),
            // What the group limits, a process itself need not.
            memory_bytes: self.memory_bytes.filter(|_| !self.has_memory_together()),
            group: self.group.as_ref().map(|group| group.folder.clone()),
        }
    }

    /// Whether all that runs in the place has its memory together.
    pub(crate) fn has_memory_together(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.limits_memory)
    }
}

/// One place.
#[derive(Debug)]
pub(crate) struct Place {
    /// Starts programs with the place's share of the machine.
    pub(crate) launcher: Launcher,
    /// The Blender that stays up here.
    pub(crate) warm: Warm,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    all: Vec<Place>,
    /// Whether each is free. There is a permit for each one that is.
    free: Mutex<Vec<bool>>,
    permits: Arc<Semaphore>,
}

impl Places {
    /// `folder` is the Worker's own, for what it speaks to its Blenders through.
    pub(crate) fn new(
        shares: Vec<Share>,
        launcher: &Launcher,
        warm: &WarmLimits,
        folder: &Path,
    ) -> Arc<Self> {
        let all: Vec<Place> = (shares.into_iter().enumerate())
            .map(|(number, share)| {
                let launcher = Launcher {
                    share,
                    ..launcher.clone()
                };
                let folder = folder.join(number.to_string());
                Place {
                    warm: Warm::new(warm.clone(), launcher.clone(), folder),
                    launcher,
                }
            })
            .collect();
        Arc::new(Self {
            free: Mutex::new(vec![true; all.len()]),
            permits: Arc::new(Semaphore::new(all.len())),
            all,
        })
    }

    /// Places where no program ever starts.
    #[cfg(test)]
    pub(crate) fn of_nothing(count: usize) -> Arc<Self> {
        let launcher = Launcher {
            supervisor: "supervisor".into(),
            oom_score_adj: None,
            share: Share::default(),
        };
        let shares = Division::default()
            .shares(count, &[])
            .expect("an even division");
        let folder = std::env::temp_dir();
        Self::new(shares, &launcher, &WarmLimits::default(), &folder)
    }

    /// Waits for a place; for one whose Blender is up for this job, if one such is free.
    pub(crate) async fn take(self: &Arc<Self>, job: &str) -> Taken {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.expect("the places are never closed");
        let mut free = self.free.lock().expect("no holder panics");
        let places = || (0..self.all.len()).filter(|&number| free[number]);
        let number = places()
            .find(|&number| self.all[number].warm.is_of(job))
            .or_else(|| places().find(|&number| !self.all[number].warm.is_up()))
            .or_else(|| places().next())
            .expect("a permit is a free place");
        free[number] = false;
        drop(free);
        Taken {
            places: Arc::clone(self),
            number,
            _permit: permit,
        }
    }

    /// Whether a task would find a place at once.
    pub(crate) fn has_free(&self) -> bool {
        self.permits.available_permits() > 0
    }

    /// Ends all Blenders that wait for a task.
    pub(crate) async fn end_warm(&self) {
        for place in &self.all {
            place.warm.end().await;
        }
    }

    /// Ends Blenders that nobody has needed for the time that they may idle. Has no end itself.
    pub(crate) async fn end_idle(&self) -> std::convert::Infallible {
        let mut idle = JoinSet::new();
        for place in &self.all {
            let warm = place.warm.clone();
            idle.spawn(async move { warm.end_idle().await });
        }
        loop {
            match idle.join_next().await {
                Some(Ok(never)) => match never {},
                Some(Err(_)) | None => std::future::pending().await,
            }
        }
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    places: Arc<Places>,
    number: usize,
    _permit: OwnedSemaphorePermit,
}

impl std::ops::Deref for Taken {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.places.all[self.number]
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // The permit goes after this, so a place that it promises is marked free already.
        self.places.free.lock().expect("no holder panics")[self.number] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_is_in_exactly_one_share() {
        // Protects tasks from each other: no two share a processor, and none is left idle.
        let machine = [0, 1, 4, 5, 8, 9, 12];
        for count in 2..=7 {
            let shares = Division::default().shares(count, &machine).unwrap();
            let together: Vec<usize> = (shares.iter())
                .flat_map(|share| share.processors.clone())
                .collect();
            assert_eq!(together, machine, "{count} places");
            assert!(shares.iter().all(|share| !share.processors.is_empty()));
        }
        // One place has the whole machine, and so have more places than processors.
        for count in [1, 8] {
            let shares = Division::default().shares(count, &machine).unwrap();
            assert!(shares.iter().all(|share| share.processors.is_empty()));
        }
    }

    #[test]
    fn each_place_has_its_card() {
        // Protects renders from all landing on the first card.
        let division = Division {
            graphics: vec!["0".into(), "1".into()],
            ..Division::default()
        };
        let cards: Vec<String> = (division.shares(3, &[]).unwrap().iter())
            .map(|share| {
                let card = |(name, _): &&(String, String)| name == "CUDA_VISIBLE_DEVICES";
                share.environment.iter().find(card).unwrap().1.clone()
            })
            .collect();
        assert_eq!(cards, ["0", "1", "0"]);
        let without = Division::default().shares(1, &[]).unwrap();
        assert_eq!(without[0].environment, [("TABLAO_SLOT".into(), "1".into())]);
    }

    #[test]
    fn a_task_counts_on_its_limit_or_its_share() {
        // Protects a task that needs much from a worker that has it for all its tasks together.
        let limited = |memory_bytes| Division {
            memory_bytes,
            ..Division::default()
        };
        assert_eq!(limited(None).memory_of_one(4, Some(64)), Some(16));
        assert_eq!(limited(Some(20)).memory_of_one(4, Some(64)), Some(20));
        assert_eq!(limited(Some(100)).memory_of_one(1, Some(64)), Some(64));
        assert_eq!(limited(Some(100)).memory_of_one(1, None), Some(100));
        assert_eq!(limited(None).memory_of_one(1, None), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_division_that_the_machine_has_not_is_refused() {
        // Protects an owner's wish: a task must not run where or as large as it was told not to.
        let sets = |sets: &[&[usize]]| Division {
            processors: Processors::Sets(sets.iter().map(|set| set.to_vec()).collect()),
            ..Division::default()
        };
        assert!(sets(&[&[0], &[1]]).shares(2, &[0, 1]).is_ok());
        let refused = |division: Division, count| division.shares(count, &[0, 1]).unwrap_err();
        assert!(refused(sets(&[&[0]]), 2).contains("one for each"));
        assert!(refused(sets(&[&[0], &[2]]), 2).contains("processor 2"));
        assert!(refused(Division::default(), 0).contains("1 to 64 slots"));
        assert!(refused(Division::default(), 65).contains("1 to 64 slots"));
        let tiny = Division {
            memory_bytes: Some(4),
            ..Division::default()
        };
        assert!(refused(tiny, 1).contains("16 MiB"));
    }

    #[tokio::test]
    async fn a_place_is_one_tasks_alone() {
        // Protects a Blender that stays up from two tasks at once, and a place from being lost.
        let places = Places::of_nothing(2);
        let first = places.take("job").await;
        let second = places.take("job").await;
        assert_ne!(first.number, second.number);
        assert!(!places.has_free());
        let number = first.number;
        drop(first);
        assert!(places.has_free());
        assert_eq!(places.take("other").await.number, number);
    }
}
