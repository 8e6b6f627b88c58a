// SPDX-License-Identifier: GPL-3.0-or-later
//! What happened in a whole farm, one record after the other, from a position on and for ever.
//!
//! Each journal is a lane. A lane first reads its journal from disk up to where it stood when the
//! lane began to listen, then takes what is broadcast; whatever it missed (a slow reader, a gap) it
//! reads from disk again. So nothing is lost and nothing is told twice.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::select_all;
use tablao_core::{Actor, Event, Lsn, Recorded, event::Outcome};
use tablao_journal::{Cursor, Lsn as JournalLsn};
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use crate::{
    engine::Batch,
    node::SharedNode,
    position::{FarmPosition, Place, prefix},
    records,
    view::View,
    whole::Views,
};

/// How often a feed looks for Managers that were linked meanwhile, if no event tells of one.
const LOOK_FOR_SITES: Duration = Duration::from_secs(15);

/// Who decided what the records after a decision say.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) actor: Actor,
    pub(crate) name: String,
}

/// A record, and where the farm stands after it.
pub(crate) struct Told {
    pub(crate) position: FarmPosition,
    pub(crate) view: View,
    pub(crate) of_control: bool,
    pub(crate) recorded: Recorded,
    pub(crate) cause: Option<Arc<Cause>>,
}

/// Why a feed ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Journal(#[from] tablao_journal::Error),
    #[error(transparent)]
    Record(#[from] records::Error),
    #[error("a journal ends before the position that it was said to have reached")]
    Short,
    #[error("the thread that reads the journal panicked")]
    Panicked,
    #[error("the process is ending")]
    Closed,
}

struct Ready {
    place: Place,
    recorded: Recorded,
    cause: Option<Arc<Cause>>,
}

/// One journal.
struct Lane {
    view: View,
    of_control: bool,
    receiver: Receiver<Batch>,
    /// Where reading from disk goes on; none while the lane takes what is broadcast.
    cursor: Option<Cursor>,
    /// Everything up to here is told or ready.
    read_to: Lsn,
    /// Up to here it is read from disk.
    catch_up_to: Lsn,
    incarnation: u32,
    cause: Option<Arc<Cause>>,
    ready: VecDeque<Ready>,
}

impl Lane {
    /// Listens first: what becomes durable from now on is broadcast to it.
    fn listen(view: View, of_control: bool) -> Self {
        Self {
            receiver: view.events.subscribe(),
            cursor: None,
            read_to: Lsn::ORIGIN,
            catch_up_to: Lsn::ORIGIN,
            incarnation: view.journal.incarnation,
            cause: None,
            ready: VecDeque::new(),
            view,
            of_control,
        }
    }

    /// Then begins after a place.
    fn begin(&mut self, place: Option<Place>) {
        if let Some(place) = place {
            self.read_to = place.lsn;
            self.incarnation = place.incarnation;
        }
        self.catch_up_to = self.view.at();
    }

    /// Reads one batch from disk, if there is one to catch up with.
    async fn catch_up(&mut self) -> Result<(), Error> {
        while self.ready.is_empty() && self.read_to < self.catch_up_to {
            let cursor = self.cursor.take();
            let (from, view) = (self.read_to.next(), self.view.clone());
            let read = tokio::task::spawn_blocking(move || next_batch(cursor, from, &view));
            let (cursor, batch) = read.await.map_err(|_| Error::Panicked)??;
            self.incarnation = batch.incarnation;
            for recorded in batch.records {
                self.take(recorded);
            }
            // Records of kinds that may be skipped are passed in silence.
            self.read_to = self.read_to.max(batch.last);
            self.cursor = Some(cursor);
        }
        Ok(())
    }

    /// Has the lane's next record ready, if there is one already.
    async fn prepare(&mut self) -> Result<(), Error> {
        loop {
            self.catch_up().await?;
            if !self.ready.is_empty() {
                return Ok(());
            }
            match self.receiver.try_recv() {
                Ok(batch) => self.hear(Ok(batch))?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Lagged(missed)) => self.hear(Err(RecvError::Lagged(missed)))?,
                Err(TryRecvError::Closed) => self.hear(Err(RecvError::Closed))?,
            }
        }
    }

    /// Takes what was broadcast.
    fn hear(&mut self, heard: Result<Batch, RecvError>) -> Result<(), Error> {
        match heard {
            Ok(batch) => {
                let first = batch.first().map_or(Lsn::ORIGIN, |recorded| recorded.lsn);
                if first > self.read_to.next() {
                    self.catch_up_to = self.view.at();
                } else {
                    batch
                        .iter()
                        .cloned()
                        .for_each(|recorded| self.take(recorded));
                }
                // Reading from disk would begin at another place now.
                self.cursor = None;
                Ok(())
            }
            Err(RecvError::Lagged(_)) => {
                self.cursor = None;
                self.catch_up_to = self.view.at();
                Ok(())
            }
            Err(RecvError::Closed) => Err(Error::Closed),
        }
    }

    /// Passes a record on, unless it was passed before or is not to be shown.
    fn take(&mut self, recorded: Recorded) {
        let shown = match &recorded.event {
            Event::Decision(decision) => {
                let name = match &recorded.detail {
                    tablao_core::Detail::Decision(detail) => detail.actor_name.clone(),
                    _ => String::new(),
                };
                let actor = decision.actor;
                self.cause = Some(Arc::new(Cause { actor, name }));
                // What came of the others follows as events.
                matches!(decision.outcome, Outcome::Refused(_))
            }
            _ => true,
        };
        if recorded.lsn <= self.read_to {
            return;
        }
        if let Event::JournalOpened(opened) = &recorded.event {
            self.incarnation = opened.incarnation;
        }
        self.read_to = recorded.lsn;
        if shown {
            self.ready.push_back(Ready {
                place: Place {
                    incarnation: self.incarnation,
                    lsn: recorded.lsn,
                },
                recorded,
                cause: self.cause.clone(),
            });
        }
    }
}

/// A batch from disk, as the folds read it.
struct FromDisk {
    incarnation: u32,
    last: Lsn,
    records: Vec<Recorded>,
}

/// The batch that holds `from`, or the cursor's next one.
fn next_batch(cursor: Option<Cursor>, from: Lsn, view: &View) -> Result<(Cursor, FromDisk), Error> {
    let mut cursor = match cursor {
        Some(cursor) => cursor,
        None => view.reader.read(JournalLsn::new(from.get()))?,
    };
    // The file may be ahead of what is durable.
    cursor.set_limit(JournalLsn::new(view.at().get()));
    let batch = cursor.next_batch()?.ok_or(Error::Short)?;
    let mut records = Vec::with_capacity(batch.records.len());
    for record in &batch.records {
        records.extend(records::read(record)?);
    }
    let read = FromDisk {
        incarnation: batch.incarnation,
        last: Lsn::new(batch.last.get()),
        records,
    };
    Ok((cursor, read))
}

/// Everything that happens in a farm.
pub(crate) struct Feed {
    node: SharedNode,
    lanes: Vec<Lane>,
    position: FarmPosition,
    looked_for_sites: Instant,
}

impl Feed {
    /// From a position on; without one, from now on.
    pub(crate) fn start(node: SharedNode, after: Option<FarmPosition>) -> Self {
        let views = Views::of(&node);
        let mut lanes: Vec<Lane> = (views.all().cloned().enumerate())
            .map(|(place, view)| Lane::listen(view, place == 0))
            .collect();
        // Read after listening, so that whatever comes later is heard.
        let position = after.unwrap_or_else(|| views.read().position());
        for lane in &mut lanes {
            lane.begin(position.get(prefix(lane.view.journal.id)));
        }
        Self {
            node,
            lanes,
            position,
            looked_for_sites: Instant::now(),
        }
    }

    /// The position after what was told last.
    pub(crate) fn position(&self) -> &FarmPosition {
        &self.position
    }

    /// The next record that is there already. Of several journals the earlier one comes first.
    pub(crate) async fn next_now(&mut self) -> Result<Option<Told>, Error> {
        for lane in &mut self.lanes {
            lane.prepare().await?;
        }
        let earliest = (self.lanes.iter_mut())
            .filter(|lane| !lane.ready.is_empty())
            .min_by_key(|lane| lane.ready.front().map(|ready| ready.recorded.at));
        let Some(lane) = earliest else {
            return Ok(None);
        };
        let Some(ready) = lane.ready.pop_front() else {
            return Ok(None);
        };
        self.position.set(prefix(lane.view.journal.id), ready.place);
        let told = Told {
            position: self.position.clone(),
            view: lane.view.clone(),
            of_control: lane.of_control,
            recorded: ready.recorded,
            cause: ready.cause,
        };
        let tells_of_a_site = matches!(
            told.recorded.event,
            Event::ManagerLinked(_) | Event::OriginAdvanced(_)
        );
        if tells_of_a_site || self.looked_for_sites.elapsed() >= LOOK_FOR_SITES {
            self.look_for_sites();
        }
        Ok(Some(told))
    }

    /// The next record; waits until there is one.
    pub(crate) async fn next(&mut self) -> Result<Told, Error> {
        loop {
            if let Some(told) = self.next_now().await? {
                return Ok(told);
            }
            let hearing = self.lanes.iter_mut().enumerate().map(|(place, lane)| {
                let heard = lane.receiver.recv();
                Box::pin(async move { (place, heard.await) })
            });
            let heard = tokio::time::timeout(LOOK_FOR_SITES, select_all(hearing)).await;
            match heard.map(|(first, _, _)| first) {
                Ok((place, heard)) => self.lanes[place].hear(heard)?,
                Err(_) => self.look_for_sites(),
            }
        }
    }

    /// Adds the journals of Managers that were linked meanwhile, from their beginning.
    fn look_for_sites(&mut self) {
        self.looked_for_sites = Instant::now();
        for view in self.node.sites() {
            let known = (self.lanes.iter()).any(|lane| lane.view.journal.id == view.journal.id);
            if !known {
                let mut lane = Lane::listen(view, false);
                lane.begin(None);
                self.lanes.push(lane);
            }
        }
    }
}
