// SPDX-License-Identifier: GPL-3.0-or-later
//! Checks of the dependencies between the tasks of one job.
//!
//! A task that waits for itself would wait for ever, so circles are refused at submission, where
//! somebody can still do something about them. Pure, and without recursion: jobs are long chains.

use crate::{error::Error, job::CompiledTask};

/// Refuses tasks that depend on each other in a circle, naming the circle.
pub(crate) fn refuse_cycles(tasks: &[CompiledTask]) -> Result<(), Error> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; tasks.len()];
    for start in 0..tasks.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // The path from `start` to the current task, each with the next dependency to look at.
        let mut path = vec![(start, 0usize)];
        marks[start] = Mark::OnPath;
        while let Some((task, next)) = path.last_mut() {
            let Some(dependency) = tasks[*task].depends_on.get(*next).copied() else {
                marks[*task] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[dependency] {
                Mark::Done => {}
                Mark::New => {
                    marks[dependency] = Mark::OnPath;
                    path.push((dependency, 0));
                }
                Mark::OnPath => {
                    let on_path = path.iter().map(|(index, _)| *index);
                    let circle = on_path.skip_while(|index| *index != dependency);
                    let names = circle.chain([dependency]);
                    return Err(Error::DependencyCycle {
                        tasks: names.map(|index| tasks[index].name.clone()).collect(),
                    });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn tasks(edges: &[Vec<usize>]) -> Vec<CompiledTask> {
        let numbered = edges.iter().enumerate();
        numbered
            .map(|(index, depends_on)| CompiledTask {
                uuid: Uuid::from_u128(index as u128 + 1),
                name: format!("t{index}"),
                task_type: "misc".into(),
                priority: 50,
                depends_on: depends_on.clone(),
                commands_json: "[]".to_owned(),
                steps_total: 0,
                frames: None,
            })
            .collect()
    }

    /// The answer names exactly the tasks of the circle, so its author can find it.
    #[test]
    fn names_the_circle() {
        let error = refuse_cycles(&tasks(&[vec![1], vec![2], vec![3], vec![1]])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tasks depend on each other in a circle: t1 -> t2 -> t3 -> t1"
        );
        assert!(refuse_cycles(&tasks(&[vec![0]])).is_err());
        assert!(refuse_cycles(&tasks(&[vec![1, 2], vec![2], vec![]])).is_ok());
    }

    /// A chain as long as the largest job is checked without using up the stack.
    #[test]
    fn long_chains_do_not_recurse() {
        let length = 1_000_000;
        let mut edges: Vec<Vec<usize>> = (0..length).map(|i| vec![i + 1]).collect();
        edges.push(Vec::new());
        assert!(refuse_cycles(&tasks(&edges)).is_ok());
        edges[length] = vec![0];
        assert!(refuse_cycles(&tasks(&edges)).is_err());
    }

    proptest! {
        /// Refused exactly when tasks cannot be used up by taking runnable ones away (the oracle).
        #[test]
        fn agrees_with_taking_away(edges in prop::collection::vec(prop::collection::vec(0usize..8, 0..3), 8)) {
            let mut left: Vec<usize> = (0..8).collect();
            loop {
                let before = left.len();
                let snapshot = left.clone();
                left.retain(|task| edges[*task].iter().any(|d| snapshot.contains(d)));
                if left.len() == before {
                    break;
                }
            }
            prop_assert_eq!(refuse_cycles(&tasks(&edges)).is_ok(), left.is_empty());
        }
    }
}
