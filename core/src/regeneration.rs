// SPDX-License-Identifier: GPL-3.0-or-later
//! How a job's tasks differ from those that its script makes now. Pure: names and contents come
//! in, four lists come out; the request that follows from them is decided elsewhere.
//!
//! A task is the same one if it has the same name and type (of several, the same place among
//! them). Its content is its commands, the files that they read, and the content of all that it
//! depends on: whatever depends on something that changed has changed.

use std::collections::BTreeMap;

/// A task that a job has.
#[derive(Clone, Debug)]
pub struct HadTask {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its task type.
    pub task_type: String,
    /// Hash of its commands.
    pub content_hash: [u8; 32],
    /// Numbers of those it waits for.
    pub depends_on: Vec<u32>,
}

/// A task that the script makes now.
#[derive(Clone, Debug)]
pub struct WantedTask {
    /// Its name.
    pub name: String,
    /// Its task type.
    pub task_type: String,
    /// Hash of its commands.
    pub content_hash: [u8; 32],
    /// Places of those it waits for.
    pub depends_on: Vec<usize>,
    /// A file that it reads has changed.
    pub is_touched: bool,
}

/// What becomes of each task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Number of a task that stays as it is, for each place that has one.
    pub kept: BTreeMap<usize, u32>,
    /// Tasks that do something else now: the place, and the number of what it replaces.
    pub changed: BTreeMap<usize, u32>,
    /// Places of tasks that there were none of.
    pub added: Vec<usize>,
    /// Numbers of tasks that there are no more.
    pub vanished: Vec<u32>,
}

impl Difference {
    /// Numbers of the tasks that go, ascending, as inclusive ranges.
    pub fn retired(&self) -> Vec<(u32, u32)> {
        let gone = self.changed.values().chain(&self.vanished);
        let mut numbers: Vec<u32> = gone.copied().collect();
        numbers.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        ranges
    }

    /// Places of the tasks that come, in order.
    pub fn coming(&self) -> Vec<usize> {
        let coming = self.changed.keys().chain(&self.added);
        let mut places: Vec<usize> = coming.copied().collect();
        places.sort_unstable();
        places
    }

    /// Every task stays as it is.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.added.is_empty() && self.vanished.is_empty()
    }
}

/// Name, type, and which of those that share both.
type Identity<'a> = (&'a str, &'a str, u32);

/// Compares the tasks that a job has, retired ones left out, with those it is to have.
pub fn compare(had: &[HadTask], wanted: &[WantedTask]) -> Difference {
    let names = had.iter().map(|task| (&*task.name, &*task.task_type));
    let mut known: BTreeMap<Identity<'_>, &HadTask> = identities(names).zip(had).collect();
    let names = wanted.iter().map(|task| (&*task.name, &*task.task_type));
    let matched: Vec<Option<&HadTask>> = identities(names)
        .map(|identity| known.remove(&identity))
        .collect();
    let mut difference = Difference {
        vanished: known.values().map(|task| task.number).collect(),
        ..Difference::default()
    };
    difference.vanished.sort_unstable();
    for place in in_order(wanted) {
        let task = &wanted[place];
        let Some(had) = matched[place] else {
            difference.added.push(place);
            continue;
        };
        let kept = &difference.kept;
        let now: Option<Vec<u32>> = (task.depends_on.iter())
            .map(|other| kept.get(other).copied())
            .collect();
        let waits_for_the_same = now.is_some_and(|now| same_numbers(now, &had.depends_on));
        let same = task.content_hash == had.content_hash && !task.is_touched;
        let list = if same && waits_for_the_same {
            &mut difference.kept
        } else {
            &mut difference.changed
        };
        list.insert(place, had.number);
    }
    difference.added.sort_unstable();
    difference
}

/// The identities of tasks with these names and types.
fn identities<'a>(
    names: impl Iterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = Identity<'a>> {
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    names.map(move |(name, task_type)| {
        let count = seen.entry((name, task_type)).or_default();
        *count += 1;
        (name, task_type, *count)
    })
}

fn same_numbers(mut one: Vec<u32>, other: &[u32]) -> bool {
    let mut other = other.to_vec();
    for list in [&mut one, &mut other] {
        list.sort_unstable();
        list.dedup();
    }
    one == other
}

/// Places so that each comes after those it waits for. Places in a circle are left out, and the
/// compiler makes none.
fn in_order(wanted: &[WantedTask]) -> Vec<usize> {
    let mut open: Vec<usize> = wanted.iter().map(|task| task.depends_on.len()).collect();
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); wanted.len()];
    for (place, task) in wanted.iter().enumerate() {
        for &other in &task.depends_on {
            waiting[other].push(place);
        }
    }
    let mut order: Vec<usize> = (0..wanted.len())
        .filter(|&place| open[place] == 0)
        .collect();
    let mut next = 0;
    while let Some(&place) = order.get(next) {
        next += 1;
        for &waits in &waiting[place] {
            open[waits] -= 1;
            if open[waits] == 0 {
                order.push(waits);
            }
        }
    }
    order
}
