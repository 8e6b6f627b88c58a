// SPDX-License-Identifier: GPL-3.0-or-later
//! Events between Servers and Managers, and about journals and configuration. Frozen shapes like
//! all others.

use serde::{Deserialize, Serialize};

use crate::{
    JobId, Lsn, ManagerId, RequestId,
    entity::{Policy, RemoteVerb},
};

facts! {
    /// A Manager belongs to this Server (or is the Server's own).
    ManagerLinked {
        /// The Manager.
        manager: ManagerId,
    }
    /// A Manager may no longer link.
    ManagerRevoked {
        /// The Manager.
        manager: ManagerId,
    }
    /// A job was given to a Manager.
    JobPlaced {
        /// The job.
        job: JobId,
        /// The Manager.
        manager: ManagerId,
        /// Raised with each reassignment.
        epoch: u32,
        /// BLAKE3 of the control blob with the compiled submission.
        submission: [u8; 32],
    }
    /// The Server gave the job to a Manager anew: an earlier epoch's attempts mean nothing now.
    JobEpochRaised {
        /// The job.
        job: JobId,
        /// The epoch that is over.
        from: u32,
        /// The epoch that has begun.
        to: u32,
        /// The Manager that runs it now.
        manager: ManagerId,
    }
    /// The Server accepted a request for a Manager to carry out.
    RequestAccepted {
        /// The request.
        request: RequestId,
        /// Who is to carry it out.
        manager: ManagerId,
        /// The job it concerns.
        job: JobId,
        /// What is to be done.
        verb: RemoteVerb,
    }
    /// A Manager carried out, or refused, what the control journal said up to here.
    RequestSettled {
        /// Position in the control journal.
        control: Lsn,
        /// The job it concerned.
        job: JobId,
        /// Code of the refusal.
        refused: Option<u16>,
    }
    /// A Manager's site journal was seen to stand here.
    OriginAdvanced {
        /// The Manager.
        manager: ManagerId,
        /// Position in its site journal.
        lsn: Lsn,
        /// Chain value there.
        chain: [u8; 32],
    }
    /// A Server began to write the control journal.
    TermStarted {
        /// Higher than every term before.
        term: u64,
    }
    /// This Manager follows a Server.
    LinkedToServer {
        /// Journal id of the Server's control journal.
        control_journal: [u8; 16],
    }

    /// A process opened the journal.
    JournalOpened {
        /// Version of the program.
        build: String,
        /// Raised at repair, restore and promotion.
        incarnation: u32,
        /// The last process had ended in order.
        clean: bool,
        /// Whose journal it is.
        manager: ManagerId,
    }
    /// Configuration took effect.
    ConfigApplied {
        /// The numbers that the rules read.
        policy: Policy,
    }
    /// Configuration took effect that no rule reads.
    ConfigNoted {
        /// BLAKE3 of its text.
        text: [u8; 32],
    }
    /// The beginning of this journal is retired: a saved state stands in for it.
    BaselineTaken {
        /// The first position that it does not cover.
        next: Lsn,
        /// BLAKE3 of the state.
        state: [u8; 32],
    }
    /// Details of earlier records of this journal are erased.
    DetailErased {
        /// First and last positions.
        ranges: Vec<(Lsn, Lsn)>,
    }
}
