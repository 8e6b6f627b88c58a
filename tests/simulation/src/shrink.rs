// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes a failing plan smaller for as long as it fails in some way: fewer faults, a kinder
//! network, fewer jobs and workers.

use crate::plan::{Plan, Weather};
use crate::{Violation, run};

/// So many runs are tried at most.
const TRIES_MAX: usize = 300;

/// The smallest failing plan that was found, and how it fails.
pub fn shrink(plan: Plan, violation: Violation) -> (Plan, Violation) {
    let mut best = (plan, violation);
    let mut tries = 0;
    loop {
        let smaller = candidates(&best.0).into_iter().find_map(|candidate| {
            tries += 1;
            if tries > TRIES_MAX {
                return None;
            }
            let violation = run(candidate.clone(), false).0.err()?;
            Some((candidate, violation))
        });
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Plans that are a little smaller, the boldest first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let half = plan.faults.len() / 2;
    if half > 1 {
        for range in [half..plan.faults.len(), 0..half] {
            let mut smaller = plan.clone();
            smaller.faults.drain(range);
            plans.push(smaller);
        }
    }
    let calm = Weather {
        lost: 0,
        doubled: 0,
        late: 0,
        delay_ms_max: 3,
    };
    if plan.weather != calm {
        plans.push(Plan {
            weather: calm,
            ..plan.clone()
        });
    }
    for fault in 0..plan.faults.len() {
        let mut smaller = plan.clone();
        smaller.faults.remove(fault);
        plans.push(smaller);
    }
    if plan.workers > 1 {
        plans.push(Plan {
            workers: 1,
            ..plan.clone()
        });
    }
    if plan.submissions.len() > 1 {
        let mut smaller = plan.clone();
        smaller.submissions.pop();
        plans.push(smaller);
    }
    for number in 0..plan.submissions.len() {
        if plan.submissions[number].tasks > 1 {
            let mut smaller = plan.clone();
            smaller.submissions[number].tasks = 1;
            plans.push(smaller);
        }
    }
    plans.retain(is_sound);
    plans
}

/// Faults name only what is there.
fn is_sound(plan: &Plan) -> bool {
    use crate::message::Node;
    use crate::plan::Fault;
    let jobs = plan.submissions.len();
    let known = |node: &Node| match node {
        Node::Worker(n) => *n < plan.managers * plan.workers,
        Node::Manager(n) => *n < plan.managers,
        Node::Server(_) | Node::Client => true,
    };
    plan.faults.iter().all(|(_, fault)| match fault {
        Fault::Kill { node, .. }
        | Fault::Pause { node, .. }
        | Fault::ClockJump { node, .. }
        | Fault::SlowDisk { node, .. }
        | Fault::Backup { node }
        | Fault::Restore { node, .. } => known(node),
        Fault::Partition { one, other, .. } => known(one) && known(other),
        Fault::Meddle { job, .. } | Fault::Reassign { job, .. } => *job < jobs,
        Fault::Quarantine { worker, .. } => known(&Node::Worker(*worker)),
        Fault::Promote => true,
    })
}
