// SPDX-License-Identifier: GPL-3.0-or-later
//! What the two sides of the link check and say, apart from how it travels.
//!
//! Both the HTTP link and the simulation go through here. Nothing here waits, and nothing knows
//! an address.

use tablao_core::{Event, Lsn, ManagerId, Recorded, Request};
use tablao_journal::Lsn as JournalLsn;

use super::{Site, Welcome, hex_chain, hex_id};
use crate::{Error, view::View};

/// How much of a journal goes into one message, in bytes.
pub const NEWS_BYTES_MAX: usize = 4 << 20;

/// At the Server: a Manager whose journal ends before its mirror here is not let in.
pub fn is_older_copy(mirror: &Site, hello_site_next: u64) -> bool {
    mirror.next() > hello_site_next
}

/// At the Server: the answer to a greeting.
pub fn welcome(server: ManagerId, control: &View, mirror: &Site) -> Welcome {
    let (site_next, chain) = mirror.head();
    Welcome {
        server,
        term: control.read().farm().term(),
        control_journal: hex_id(control.journal.id),
        control_next: control.at().next().get(),
        control_oldest: control.reader.oldest().map_or(1, |oldest| oldest.get()),
        site_next,
        site_chain: hex_chain(chain),
    }
}

/// At a Manager: why it does not follow this Server with the copy that it has. `followed` is the
/// highest term that it has followed, on disk: its copy may lack that term's first record.
pub fn refusal_to_follow(mirror: &Site, followed: u64, welcome: &Welcome) -> Option<String> {
    let term = mirror.view().read().farm().term().max(followed);
    if welcome.term < term {
        return Some(format!(
            "it is in term {}, and this Manager has heard of term {term}: another Server was \
             promoted in its place. Stop the old one and link to the new one",
            welcome.term
        ));
    }
    (mirror.next() > welcome.control_next).then(|| {
        format!(
            "its control journal ends before position {}, and this Manager has a copy up to {}: \
             the Server was restored from an older copy. Bring back its newer data directory; \
             the copy here lies in journal/server",
            welcome.control_next,
            mirror.next()
        )
    })
}

/// At a Manager: what the Server has of the site journal is the beginning of what is here.
pub fn is_beginning_of(site: &View, welcome: &Welcome) -> Result<bool, Error> {
    let next = welcome.site_next;
    // An empty mirror is the beginning of everything, also of a journal that has lost its own.
    if next == 1 {
        return Ok(true);
    }
    if next > site.at().next().get() {
        return Ok(false);
    }
    let ours = site.reader.chain_before(JournalLsn::new(next))?;
    Ok(ours.map(|chain| hex_chain(chain.0)).as_ref() == Some(&welcome.site_chain))
}

/// What an empty mirror begins with where the journal's own beginning was retired; none where the
/// journal has what the mirror wants next.
pub fn beginning_for(view: &View, next: u64) -> Result<Option<Vec<u8>>, Error> {
    if next > 1 || view.reader.oldest()?.get() == 1 {
        return Ok(None);
    }
    let newest = JournalLsn::new(view.at().get());
    Ok((view.reader.baseline(newest)?).map(|baseline| baseline.encode()))
}

/// Whole batches of a journal from `from` on, none of them beyond what is durable. Empty if there
/// is nothing yet.
pub fn news(view: &View, from: u64, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let durable = view.at().get();
    if durable < from {
        return Ok(Vec::new());
    }
    let raw = view
        .reader
        .read_raw(JournalLsn::new(from), JournalLsn::new(durable), bytes_max)?;
    Ok(raw.bytes)
}

/// What the control journal holds from `next` to `durable`.
pub fn records_between(
    reader: &tablao_journal::Reader,
    next: Lsn,
    durable: Lsn,
) -> Result<Vec<Recorded>, Error> {
    let mut found = Vec::new();
    // What was retired was asked of nobody who follows only now.
    let from = JournalLsn::new(next.get()).max(reader.oldest()?);
    for record in reader.records(from)? {
        let record = record?;
        if record.lsn.get() > durable.get() {
            break;
        }
        found.extend(crate::records::read(&record)?);
    }
    Ok(found)
}

/// What a record of the control journal asks of a Manager.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Take over this submission, in this epoch, and settle it.
    Place {
        /// BLAKE3 of the control blob.
        submission: [u8; 32],
        /// The job.
        job: tablao_core::JobId,
        /// Its epoch.
        epoch: u32,
    },
    /// One request that settles itself.
    Ask(Request),
}

/// What a record of the control journal asks of this Manager, if anything.
pub fn wish(recorded: &Recorded, manager: ManagerId) -> Option<Wish> {
    match &recorded.event {
        Event::JobPlaced(placed) if placed.manager == manager => Some(Wish::Place {
            submission: placed.submission,
            job: placed.job,
            epoch: placed.epoch,
        }),
        // A first placement elsewhere is none of ours.
        Event::JobPlaced(placed) if placed.epoch > 1 => Some(Wish::Ask(Request::FenceJob {
            control: recorded.lsn,
            job: placed.job,
            manager: placed.manager,
            epoch: placed.epoch,
        })),
        Event::RequestAccepted(accepted) if accepted.manager == manager => {
            Some(Wish::Ask(Request::CarryOut {
                control: recorded.lsn,
                job: accepted.job,
                verb: accepted.verb,
                reason: recorded.detail.reason_text().to_owned(),
            }))
        }
        _ => None,
    }
}

/// The term that a Server begins which is made of a copy of this control journal. None of a copy
/// that holds no term yet: it has nothing that another Server could go on with, and the term it
/// would begin is the lost one's own.
pub fn term_of_promotion(copy: &tablao_core::Farm) -> Option<u64> {
    let raise = u64::from(!cfg!(feature = "planted-no-term"));
    (copy.term() > 0).then(|| copy.term() + raise)
}
