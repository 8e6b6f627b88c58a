// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding what belongs to the control journal, and what both journals open with.

use super::{Answer, Plan};
use crate::{
    Detail, JobId, Lsn, ManagerId, Refusal, RequestId,
    entity::{Policy, RemoteVerb},
    event::{
        BaselineTaken, ConfigApplied, ConfigNoted, DetailErased, JobPlaced, JournalOpened,
        LinkedToServer, ManagerLinked, ManagerRevoked, OriginAdvanced, RequestAccepted,
        RequestSettled, TermStarted,
    },
};

type Decision = Result<Answer, Refusal>;

impl Plan<'_> {
    /// A process that finds its own journal as it left it writes nothing: an idle farm that is
    /// restarted does not grow.
    pub(super) fn open_journal(
        &mut self,
        build: &str,
        incarnation: u32,
        clean: bool,
        manager: ManagerId,
    ) -> Answer {
        if self.farm.manager != Some(manager) || self.farm.incarnation != incarnation || !clean {
            self.emit(JournalOpened {
                build: build.to_owned(),
                incarnation,
                clean,
                manager,
            });
        }
        Answer::Done
    }

    pub(super) fn apply_config(&mut self, policy: &Policy, text: &str) -> Answer {
        if self.farm.policy != *policy {
            self.emit_with(
                ConfigApplied {
                    policy: policy.clone(),
                },
                Detail::named("", text),
            );
        }
        Answer::Done
    }

    pub(super) fn note_config(&mut self, text: &str) -> Answer {
        let hash = *blake3::hash(text.as_bytes()).as_bytes();
        self.emit_with(ConfigNoted { text: hash }, Detail::named("", text));
        Answer::Done
    }

    pub(super) fn note_baseline(&mut self, next: Lsn, state: [u8; 32]) -> Answer {
        self.emit(BaselineTaken { next, state });
        Answer::Done
    }

    pub(super) fn note_erasure(&mut self, ranges: &[(Lsn, Lsn)], reason: &str) -> Answer {
        let ranges = ranges.to_vec();
        self.emit_with(DetailErased { ranges }, Detail::reason(reason));
        Answer::Done
    }

    pub(super) fn link_manager(&mut self, manager: ManagerId, name: &str) -> Answer {
        let known = self.farm.managers.get(&manager);
        let detail = Detail::named(name, "");
        let unchanged = known.is_some_and(|known| {
            !known.revoked
                && known.detail
                    == crate::codec::detail_hash(crate::codec::encode_detail(&detail).as_deref())
        });
        if !unchanged {
            self.emit_with(ManagerLinked { manager }, detail);
        }
        Answer::Done
    }

    pub(super) fn revoke_manager(&mut self, manager: ManagerId, reason: &str) -> Decision {
        self.known_manager(manager)?;
        self.emit_with(ManagerRevoked { manager }, Detail::reason(reason));
        Ok(Answer::Done)
    }

    pub(super) fn known_manager(&self, manager: ManagerId) -> Result<(), Refusal> {
        match self.farm.managers.get(&manager) {
            Some(known) if !known.revoked => Ok(()),
            _ => Err(Refusal::UnknownManager { manager }),
        }
    }

    pub(super) fn place_job(
        &mut self,
        job: JobId,
        manager: ManagerId,
        submission: [u8; 32],
        name: &str,
        why: &str,
    ) -> Decision {
        if let Some(earlier) = self.env.key.and_then(|key| self.farm.job_of_key(&key)) {
            return Ok(Answer::Job(earlier));
        }
        self.known_manager(manager)?;
        let placed = self.farm.placements.get(&job);
        if placed.is_some() {
            return Err(Refusal::JobExists { job });
        }
        self.emit_with(
            JobPlaced {
                job,
                manager,
                epoch: 1,
                submission,
            },
            Detail::named(name, why),
        );
        Ok(Answer::Job(job))
    }

    pub(super) fn accept_remote(
        &mut self,
        request: RequestId,
        job: JobId,
        seen_at: Option<ManagerId>,
        verb: RemoteVerb,
        reason: &str,
    ) -> Decision {
        if self.farm.remotes.contains_key(&request) {
            // The same request again: it is on its way already.
            return Ok(Answer::Done);
        }
        let placed_at = self.farm.placements.get(&job).map(|placed| placed.manager);
        let manager = placed_at.or(seen_at).ok_or(Refusal::UnknownJob { job })?;
        self.known_manager(manager)?;
        self.emit_with(
            RequestAccepted {
                request,
                manager,
                job,
                verb,
            },
            Detail::reason(reason),
        );
        Ok(Answer::Done)
    }

    pub(super) fn settle_remote(
        &mut self,
        control: Lsn,
        job: JobId,
        refused: Option<u16>,
        reason: &str,
    ) -> Answer {
        if control > self.farm.settled {
            self.emit_with(
                RequestSettled {
                    control,
                    job,
                    refused,
                },
                Detail::reason(reason),
            );
        }
        Answer::Done
    }

    /// Wish and settlement are one decision: whatever is killed or cut between them, a wish is
    /// carried out once.
    pub(super) fn carry_out(
        &mut self,
        control: Lsn,
        job: JobId,
        verb: RemoteVerb,
        reason: &str,
    ) -> Answer {
        if control <= self.farm.settled {
            return Answer::Done;
        }
        let done = match verb {
            RemoteVerb::SetStatus(status) => self.set_job_status(job, status, reason),
            RemoteVerb::SetPriority(priority) => self.set_job_priority(job, priority),
        };
        let refusal = done.err();
        let refused = refusal.as_ref().map(Refusal::code);
        let why = refusal.map(|refusal| refusal.to_string());
        self.settle_remote(control, job, refused, &why.unwrap_or_default())
    }

    pub(super) fn advance_origin(
        &mut self,
        manager: ManagerId,
        lsn: Lsn,
        chain: [u8; 32],
    ) -> Decision {
        self.known_manager(manager)?;
        if self.farm.managers[&manager].origin < lsn {
            self.emit(OriginAdvanced {
                manager,
                lsn,
                chain,
            });
        }
        Ok(Answer::Done)
    }

    pub(super) fn start_term(&mut self, term: u64) -> Decision {
        if term < self.farm.term {
            return Err(Refusal::StaleTerm { term });
        }
        if term > self.farm.term {
            self.emit(TermStarted { term });
        }
        Ok(Answer::Done)
    }

    pub(super) fn follow_server(&mut self, control_journal: [u8; 16], url: &str) -> Answer {
        if self.farm.control_journal != Some(control_journal) {
            self.emit_with(LinkedToServer { control_journal }, Detail::named("", url));
        }
        Answer::Done
    }
}
