// SPDX-License-Identifier: GPL-3.0-or-later
//! What all changes of jobs in this API share: whose engine is asked, and what a refusal becomes.

use tablao_core::{JobId, Refusal};

use super::{
    jobs::unknown_job,
    problem::{Problem, ProblemKind},
    tasks::unknown_task,
};
use crate::{engine::Engine, node::SharedNode};

/// Jobs are changed at the Manager that runs them.
pub(super) fn engine(node: &SharedNode, job: JobId) -> Result<&Engine, Problem> {
    let view = node.site_of_job(job).ok_or_else(|| unknown_job(job))?;
    let own = (node.site.as_ref()).filter(|engine| engine.view().manager == view.manager);
    own.ok_or_else(|| {
        let detail = format!("job {job} is run by Manager {}", view.manager);
        Problem::new(ProblemKind::JobElsewhere, detail)
    })
}

/// A refusal in this API's words.
pub(super) fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::UnknownJob { job } => unknown_job(*job),
        Refusal::UnknownTask { task } => unknown_task(*task),
        other => Problem::new(ProblemKind::NotNow, other.to_string()),
    }
}
