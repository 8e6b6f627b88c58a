// SPDX-License-Identifier: GPL-3.0-or-later
//! Many jobs deleted at once: those to which nothing has happened since a time.
//!
//! One job alone is deleted in `jobs`; what deletion then does is `crate::deletion`'s.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use tablao_core::{JobId, Refusal, Request, Timestamp};

use super::{Body, Problem, error::stopped};
use crate::{api::actor::Sender, clock, engine::Ask, node::SharedNode};

#[derive(Deserialize)]
pub(super) struct MassDeletion {
    last_updated_max: String,
}

/// The whole second at this moment or after it: people see and send seconds.
fn rounded_up(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_ceil(1_000_000).saturating_mul(1_000_000))
}

pub(super) async fn mass_delete(
    State(node): State<SharedNode>,
    sender: Sender,
    Body(body): Body<MassDeletion>,
) -> Result<StatusCode, Problem> {
    let until = clock::parse_rfc3339(&body.last_updated_max)
        .map(rounded_up)
        .ok_or_else(|| {
            Problem::bad_request("last_updated_max is no time: write it as 2026-08-03T12:00:00Z")
        })?;
    let Some(engine) = &node.site else {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "jobs cannot be deleted through the Server yet; ask their Manager",
        ));
    };
    let jobs: Vec<JobId> = {
        let model = engine.model();
        let farm = model.farm();
        let is_meant = |id: &JobId, updated: Timestamp| {
            let job = farm.jobs().get(id);
            updated <= until && job.is_some_and(|job| job.state.delete_marked.is_none())
        };
        let rows = model.jobs().filter(|row| is_meant(&row.id, row.updated));
        rows.map(|row| row.id).collect()
    };
    if jobs.is_empty() {
        return Err(Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "no job was last updated at that time or before",
        ));
    }
    // One after the other, so that workers' calls come in between.
    for job in jobs {
        let request = Request::MarkJobDeleted { job };
        let ask = Ask::new(request, sender.actor, sender.asker.clone());
        match engine.ask(ask).await {
            // Somebody else was quicker.
            Ok(Ok(_) | Err(Refusal::UnknownJob { .. })) => {}
            Ok(Err(refusal)) => return Err(refusal.into()),
            Err(error) => stopped(error).await,
        }
    }
    node.deletion.look();
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects the bound of a mass deletion: whoever sends the time that was shown, without what
    /// lies behind the second, means that job, too.
    #[test]
    fn the_bound_is_rounded_up_to_a_second() {
        for (text, rounded) in [
            ("2026-08-03T12:00:00Z", "2026-08-03T12:00:00Z"),
            ("2026-08-03T12:00:00.000001Z", "2026-08-03T12:00:01Z"),
            ("2026-08-03T12:00:00.999999Z", "2026-08-03T12:00:01Z"),
            ("2026-08-03T23:59:59.5+02:00", "2026-08-03T22:00:00Z"),
        ] {
            let at = |text| clock::parse_rfc3339(text).unwrap();
            assert_eq!(rounded_up(at(text)), at(rounded), "{text}");
        }
    }
}
