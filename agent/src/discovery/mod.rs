// SPDX-License-Identifier: GPL-3.0-or-later
//! Finding a Manager when nobody says where it is: where it was last, on this machine, by
//! UPnP/SSDP as Flamenco's Workers do, and by DNS-SD.
//!
//! A Worker that has an identity goes to no Manager that does not know it: on a network with
//! several it would become another's by accident. Nothing here runs when an address is given.

mod candidates;
mod dns_sd;
mod known;
mod probe;
mod ssdp;

use std::{fmt, path::Path, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{Error, identity};
use candidates::Candidates;
use probe::{Probe, Verdict};

/// Where a Manager is that was set up on this machine and never changed.
const ON_THIS_MACHINE: &str = "http://127.0.0.1:8080";
/// Those that were there before get this long before the network is asked.
const HEAD_START: Duration = Duration::from_secs(2);
/// Searches at first, and after the first minute.
const EVERY: Duration = Duration::from_secs(1);
const LATER_EVERY: Duration = Duration::from_secs(10);
const AT_FIRST: Duration = Duration::from_secs(60);
/// Answers that wait to be looked at. A network has few Managers.
const WAITING_MAX: usize = 64;

/// How a Manager was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It was this Worker's before.
    Known,
    /// It is where one on this machine usually is.
    OnThisMachine,
    /// UPnP/SSDP.
    Ssdp,
    /// DNS-SD.
    DnsSd,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known => "it was this Worker's before",
            Self::OnThisMachine => "it is on this machine",
            Self::Ssdp => "by UPnP",
            Self::DnsSd => "by DNS-SD",
        })
    }
}

/// An address at which there may be a Manager.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Like `http://host:8080`.
    pub url: String,
    /// Who told of it.
    pub how: How,
}

/// Searches the network once a second and tells of what answers, until the receiver is gone.
///
/// Whether what answers is a Manager is not looked at.
pub fn search(how: How) -> mpsc::Receiver<Candidate> {
    let (found, candidates) = mpsc::channel(WAITING_MAX);
    match how {
        How::Ssdp => drop(tokio::spawn(ssdp::search(found))),
        How::DnsSd => drop(tokio::spawn(dns_sd::search(found))),
        // Nothing to search for.
        How::Known | How::OnThisMachine => {}
    }
    candidates
}

/// Remembers the Manager that a Worker was told to go to.
///
/// # Errors
/// When the data directory cannot be written.
pub fn remember(data_dir: &Path, url: &str) -> Result<(), Error> {
    known::store(data_dir, url)
}

/// Finds this Worker's Manager; searches until there is one or `shutdown` resolves.
///
/// # Errors
/// When the data directory cannot be read or written.
pub async fn find_manager(
    data_dir: &Path,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<String>, Error> {
    std::fs::create_dir_all(data_dir).map_err(Error::file(data_dir))?;
    let known = known::load(data_dir);
    let probe = Probe::new(identity::load(data_dir)?)?;
    let found = tokio::select! {
        found = first_that_answers(known.clone(), probe) => found,
        () = shutdown => return Ok(None),
    };
    tracing::info!(
        manager = found.candidate.url,
        name = found.name,
        version = found.version,
        "found a Manager: {}",
        found.candidate.how
    );
    if known.as_ref() != Some(&found.candidate.url) {
        known::store(data_dir, &found.candidate.url)?;
    }
    Ok(Some(found.candidate.url))
}

/// A Manager that answered.
struct Found {
    candidate: Candidate,
    name: String,
    version: String,
}

async fn first_that_answers(known: Option<String>, probe: Probe) -> Found {
    let began = Instant::now();
    let mut at_hand: Vec<Candidate> = Vec::new();
    at_hand.extend(known.map(|url| Candidate {
        url,
        how: How::Known,
    }));
    at_hand.push(Candidate {
        url: ON_THIS_MACHINE.to_owned(),
        how: How::OnThisMachine,
    });
    let mut candidates = Candidates::default();
    let mut probing = JoinSet::new();
    let (mut ssdp, mut dns_sd) = (None, None);
    let mut next_round = began;
    loop {
        tokio::select! {
            () = sleep_until(next_round) => {
                let since = began.elapsed();
                next_round += if since < AT_FIRST { EVERY } else { LATER_EVERY };
                if since >= HEAD_START && ssdp.is_none() {
                    tracing::info!("no Manager known and none on this machine; searching the network");
                    ssdp = Some(search(How::Ssdp));
                    dns_sd = Some(search(How::DnsSd));
                }
                for candidate in &at_hand {
                    begin(&mut candidates, &mut probing, &probe, candidate.clone());
                }
            }
            Some(candidate) = next_of(&mut ssdp) => {
                begin(&mut candidates, &mut probing, &probe, candidate);
            }
            Some(candidate) = next_of(&mut dns_sd) => {
                begin(&mut candidates, &mut probing, &probe, candidate);
            }
            Some(probed) = probing.join_next() => {
                let Ok((candidate, verdict)) = probed else {
                    continue;
                };
                let is_news = candidates.ended(&candidate.url, &verdict);
                match verdict {
                    Verdict::Manager { name, version } => return Found { candidate, name, version },
                    Verdict::Stranger if is_news => tracing::warn!(
                        manager = candidate.url,
                        "a Manager was found that does not know this Worker; to work for it, start \
                         with --manager, or with another --data"
                    ),
                    Verdict::Stranger | Verdict::Nobody => {}
                }
            }
        }
    }
}

fn begin(
    candidates: &mut Candidates,
    probing: &mut JoinSet<(Candidate, Verdict)>,
    probe: &Probe,
    candidate: Candidate,
) {
    if candidates.begin(&candidate.url) {
        let probe = probe.clone();
        probing.spawn(async move {
            let verdict = probe.ask(&candidate.url).await;
            (candidate, verdict)
        });
    }
}

async fn next_of(search: &mut Option<mpsc::Receiver<Candidate>>) -> Option<Candidate> {
    match search {
        Some(search) => search.recv().await,
        None => None,
    }
}
