// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao journal`: look into the journals of a data directory. Nothing here writes, so all of
//! it may run beside the process that holds the directory; what writes is `journal_upkeep`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tablao_journal::{Cursor, Info, Lsn, Record, Verified};

use super::records::{json_line, kind_name, text_line};
use super::{journal_retire, journal_upkeep};
use crate::{
    exit::{Code, Exit},
    journals::{self, JournalFolder, Role},
    output::{self, Column},
};

/// Soon enough for a person who watches.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const COLUMNS: &[Column] = &[
    ("JOURNAL", "/name"),
    ("FIRST", "/first"),
    ("LAST", "/last"),
    ("BYTES", "/bytes"),
    ("SEGMENTS", "/segment_count"),
    ("INCARNATION", "/incarnation"),
    ("CHAIN", "/chain"),
];

/// Look into the journals of a data directory, and tend them while nothing runs.
///
/// Example: tablao journal cat --data tablao-data --journal site --kind JobStatusChanged
#[derive(Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    verb: Verb,
    /// The data directory of a Server or Manager.
    #[arg(long, global = true, value_name = "DIR", default_value = "tablao-data")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Say which journals there are, how long, and how they end.
    Info,
    /// Check every byte of every journal. Ends 0 and prints the chain value of each, or ends 3
    /// and names segment, byte offset and position.
    Verify,
    /// Print the records, one per line.
    Cat(Filter),
    /// Print records as they are written, until Ctrl-C.
    Follow(Filter),
    /// Save everything before the first damage into a new data directory, in a new incarnation,
    /// and say what was lost. The damaged one is only read.
    Repair {
        /// The new data directory; a folder that is empty or not there.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Pack sealed segments now; a running process does so by itself.
    Pack,
    /// Move sealed segments to another disk, from where they are read.
    MoveCold {
        /// A folder on that disk.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Let the oldest sealed segments go, once a baseline (the whole farm as it stood behind them,
    /// with their chain value) is saved and read back in their place.
    Retire(journal_retire::Retire),
    /// Erase the details (names, paths, settings, messages) of records. Their hashes stay, and so
    /// does the proof.
    Erase {
        /// Of this journal: control or site.
        #[arg(long, value_name = "JOURNAL", default_value = "site")]
        journal: String,
        /// Positions and ranges, such as 5,9-20.
        #[arg(long, value_name = "POSITIONS", value_delimiter = ',', required = true)]
        positions: Vec<String>,
        /// Why; it stands in the journal beside who erased what, and when.
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
    },
}

/// Which records.
#[derive(Args)]
struct Filter {
    /// Begin at this record's number; `follow` begins at the end otherwise.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Only records of these kinds, separated by commas.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kind: Vec<String>,
    /// Only this journal: control, site, or a mirror by its Manager's id.
    #[arg(long, value_name = "JOURNAL")]
    journal: Option<String>,
}

impl Journal {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let journals = journals::find(&self.data)?;
        let data = &self.data;
        match &self.verb {
            Verb::Repair { to } => journal_upkeep::repair(data, to, self.json),
            Verb::Pack => journal_upkeep::pack(data, self.json),
            Verb::MoveCold { to } => journal_upkeep::to_cold(data, to, self.json),
            Verb::Erase {
                journal,
                positions,
                why,
            } => journal_upkeep::erase(data, journal, positions, why, self.json),
            Verb::Retire(retire) => retire.run(data, self.json),
            Verb::Info => self.info(&journals),
            Verb::Verify => self.verify(&journals),
            Verb::Cat(filter) => self.cat(&journals, filter),
            Verb::Follow(filter) => self.follow(&journals, filter),
        }
    }

    fn info(&self, journals: &[JournalFolder]) -> anyhow::Result<()> {
        let mut rows = Vec::with_capacity(journals.len());
        for journal in journals {
            let info = journal
                .reader()?
                .info()
                .map_err(|error| journal.explain(error))?;
            rows.push(info_json(journal, &info));
        }
        if self.json {
            return output::json(&json!({ "journals": rows }));
        }
        for (row, journal) in rows.iter_mut().zip(journals) {
            row["segment_count"] = json!(row["segments"].as_array().map_or(0, Vec::len));
            row["name"] = json!(journal.name());
        }
        output::table(COLUMNS, &rows)
    }

    fn verify(&self, journals: &[JournalFolder]) -> anyhow::Result<()> {
        let mut rows = Vec::with_capacity(journals.len());
        let mut damage = None;
        // All are checked, also after a damaged one; the first damage is what it ends with.
        for journal in journals {
            match journal.verify() {
                Ok(verified) => {
                    if !self.json {
                        output::line(&verified_line(journal, &verified))?;
                    }
                    rows.push(verified_json(journal, &verified));
                }
                Err(error) => {
                    let mut row = named(journal);
                    row.insert("whole".to_owned(), json!(false));
                    row.insert("error".to_owned(), json!(error.to_string()));
                    rows.push(Value::Object(row));
                    if let Some(earlier) = damage.replace(error) {
                        eprintln!("tablao: {earlier:#}");
                    }
                }
            }
        }
        if self.json {
            output::json(&json!({ "journals": rows }))?;
        }
        damage.map_or(Ok(()), Err)
    }

    fn cat(&self, journals: &[JournalFolder], filter: &Filter) -> anyhow::Result<()> {
        for journal in filter.chosen(journals)? {
            let reader = journal.reader()?;
            let oldest = reader.oldest().map_err(|error| journal.explain(error))?;
            let from = filter.from.map_or(oldest, Lsn::new);
            let records = match reader.records(from) {
                // Another journal may have a record of that number.
                Err(tablao_journal::Error::NotYet { .. }) => continue,
                records => records.map_err(|error| journal.explain(error))?,
            };
            for record in records {
                let record = record.map_err(|error| journal.explain(error))?;
                self.print(journal, &record, filter)?;
            }
            journal.check_end(&reader)?;
        }
        Ok(())
    }

    fn follow(&self, journals: &[JournalFolder], filter: &Filter) -> anyhow::Result<()> {
        let mut followed: Vec<(&JournalFolder, Cursor, Lsn)> = Vec::new();
        for journal in filter.chosen(journals)? {
            let reader = journal.reader()?;
            let from = match filter.from {
                Some(from) => Lsn::new(from),
                None => {
                    let info = reader.info().map_err(|error| journal.explain(error))?;
                    info.last.next()
                }
            };
            let cursor = reader.read(from).map_err(|error| journal.explain(error))?;
            followed.push((journal, cursor, from));
        }
        loop {
            for (journal, cursor, from) in &mut followed {
                while let Some(batch) = cursor
                    .next_batch()
                    .map_err(|error| journal.explain(error))?
                {
                    for record in batch.records.iter().filter(|record| record.lsn >= *from) {
                        self.print(journal, record, filter)?;
                    }
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn print(
        &self,
        journal: &JournalFolder,
        record: &Record,
        filter: &Filter,
    ) -> anyhow::Result<()> {
        if !filter.kind.is_empty() && !filter.kind.contains(&kind_name(record)) {
            return Ok(());
        }
        if self.json {
            output::line(&json_line(&journal.name(), record).to_string())
        } else {
            output::line(&text_line(&journal.name(), record))
        }
    }
}

impl Filter {
    /// The journals to read; an unknown kind or journal is told rather than finding nothing.
    fn chosen<'a>(&self, journals: &'a [JournalFolder]) -> anyhow::Result<Vec<&'a JournalFolder>> {
        let known = |name: &String| {
            tablao_core::kind::KINDS
                .iter()
                .any(|kind| kind.name == *name)
        };
        if let Some(unknown) = self.kind.iter().find(|name| !known(name)) {
            return Err(Exit::new(
                Code::Usage,
                format!(
                    "there is no kind {unknown:?}; docs/events.md lists them, such as JobAccepted"
                ),
            )
            .into());
        }
        let Some(wanted) = &self.journal else {
            return Ok(journals.iter().collect());
        };
        let is = |journal: &&JournalFolder| match &journal.role {
            Role::Mirror { manager } => manager == wanted,
            Role::Control | Role::Site => journal.role_name() == wanted,
        };
        let chosen: Vec<_> = journals.iter().filter(is).collect();
        if chosen.is_empty() {
            let names: Vec<String> = journals.iter().map(JournalFolder::name).collect();
            return Err(Exit::new(
                Code::Usage,
                format!(
                    "there is no journal {wanted:?} here; there are {}",
                    names.join(", ")
                ),
            )
            .into());
        }
        Ok(chosen)
    }
}

fn named(journal: &JournalFolder) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("role".to_owned(), json!(journal.role_name()));
    if let Role::Mirror { manager } = &journal.role {
        row.insert("manager".to_owned(), json!(manager));
    }
    row
}

fn info_json(journal: &JournalFolder, info: &Info) -> Value {
    let segments: Vec<Value> = info
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.file,
                "first": segment.first.get(),
                "last": segment.last.get(),
                "bytes": segment.bytes,
                "sealed": segment.sealed,
            })
        })
        .collect();
    let mut row = named(journal);
    row.extend([
        ("journal_id".to_owned(), json!(info.journal_id.to_string())),
        ("incarnation".to_owned(), json!(info.incarnation)),
        ("format".to_owned(), json!(info.format)),
        ("first".to_owned(), json!(info.first.get())),
        ("last".to_owned(), json!(info.last.get())),
        ("bytes".to_owned(), json!(info.bytes)),
        ("chain".to_owned(), json!(info.chain.to_string())),
        ("segments".to_owned(), Value::Array(segments)),
    ]);
    Value::Object(row)
}

fn verified_json(journal: &JournalFolder, verified: &Verified) -> Value {
    let tail = verified.unfinished_tail.as_ref();
    let mut row = named(journal);
    row.extend([
        ("whole".to_owned(), json!(true)),
        (
            "journal_id".to_owned(),
            json!(verified.journal_id.to_string()),
        ),
        ("incarnation".to_owned(), json!(verified.incarnation)),
        ("first".to_owned(), json!(verified.first.get())),
        ("last".to_owned(), json!(verified.next.previous().get())),
        ("records".to_owned(), json!(verified.records)),
        ("batches".to_owned(), json!(verified.batches)),
        ("chain".to_owned(), json!(verified.chain.to_string())),
        ("clean".to_owned(), json!(verified.clean)),
        (
            "unfinished_tail".to_owned(),
            json!(tail.map(|tail| json!({
                "segment": tail.segment, "offset": tail.offset, "what": tail.what,
            }))),
        ),
    ]);
    Value::Object(row)
}

fn verified_line(journal: &JournalFolder, verified: &Verified) -> String {
    let mut line = format!(
        "{} is whole: positions {} to {}, {} batches, chain {}",
        journal.name(),
        verified.first,
        verified.next.previous(),
        verified.batches,
        verified.chain
    );
    if verified.first > Lsn::FIRST {
        line.push_str(&format!(
            "; what came before was retired, so proof begins at position {}",
            verified.first
        ));
    }
    if let Some(tail) = &verified.unfinished_tail {
        line.push_str(&format!(
            "; behind its end, at byte {} of {}, is a write that was never acknowledged ({}), \
             which the next start cuts off",
            tail.offset, tail.segment, tail.what
        ));
    }
    line
}
