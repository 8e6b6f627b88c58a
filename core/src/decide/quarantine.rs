// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding that a worker is kept from work because its machine seems sick, and for how long.
//!
//! A lighter cause never takes the place of a heavier one: what a person decided is not undone
//! by a check that finds nothing. What a check is and when failures are too many is the shell's.

use super::{Answer, Plan};
use crate::{
    Detail, Refusal, WorkerId,
    codec::{detail_hash, encode_detail},
    entity::Quarantine,
    event::{AttemptOutcome, QuarantineCause, WorkerQuarantineLifted, WorkerQuarantined},
};

type Decision = Result<Answer, Refusal>;

impl Plan<'_> {
    pub(super) fn quarantine_worker(
        &mut self,
        id: WorkerId,
        cause: QuarantineCause,
        reason: &str,
    ) -> Decision {
        self.worker(id)?;
        let detail = Detail::reason(reason);
        let before = self.farm.quarantines.get(&id);
        let is_news = before.is_none_or(|before| {
            let weight = before.cause.weight();
            weight < cause.weight() || (weight == cause.weight() && !says_the_same(before, &detail))
        });
        if !is_news {
            return Ok(Answer::Done);
        }
        self.give_all_back(id, AttemptOutcome::Returned, "its worker is in quarantine");
        self.emit_with(
            WorkerQuarantined {
                worker: id,
                cause,
                from: before.map(|before| before.cause),
            },
            detail,
        );
        Ok(Answer::Done)
    }

    pub(super) fn lift_quarantine(
        &mut self,
        id: WorkerId,
        own_check_only: bool,
        reason: &str,
    ) -> Decision {
        self.worker(id)?;
        let Some(before) = self.farm.quarantines.get(&id) else {
            return Ok(Answer::Done);
        };
        if own_check_only && before.cause != QuarantineCause::SelfCheck {
            return Ok(Answer::Done);
        }
        self.emit_with(
            WorkerQuarantineLifted {
                worker: id,
                from: before.cause,
            },
            Detail::reason(reason),
        );
        Ok(Answer::Done)
    }
}

/// The same words once more are no news.
fn says_the_same(before: &Quarantine, detail: &Detail) -> bool {
    before.detail == detail_hash(encode_detail(detail).as_deref())
}
