// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao bench`: measures a part and prints the figures, each beside the limit of the same run.
//! The measuring itself is the crate `benches`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use comfy_table::{CellAlignment, Table, presets};
use tablao_benches::{Figure, Report};

use crate::{
    exit::{Code, Exit},
    output,
};

/// The bare server is no part: `farm` starts it to be compared with.
const BARE_SERVER: &str = "bare-server";

/// Measure a part of Tablao on this machine, with stated sizes and everything synced.
///
/// Each figure stands beside the limit that the same run measured (the bare disk, a bare server),
/// because a figure alone says more about the machine than about the program. Measure with a
/// release build on a machine that does nothing else; the data goes on the disk that --data names
/// and is removed at the end. What the figures mean: docs/performance.md.
///
/// Example: tablao bench farm --data /srv/farm --json
#[derive(Args)]
#[command(after_help = parts())]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(value_name = "PART", required_unless_present = "list", value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    part: Option<String>,
    /// Print the names of the parts, one a line, and measure nothing.
    #[arg(long)]
    list: bool,
    /// How large: `small` takes seconds and only shows that the bench works.
    #[arg(long, value_name = "SIZE", default_value = "full")]
    size: Size,
    /// The folder below which the measured data lies while it runs.
    #[arg(long, value_name = "DIR", default_value = ".")]
    data: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    Small,
    Full,
}

fn names() -> impl Iterator<Item = &'static str> {
    let parts = tablao_benches::PARTS.iter().map(|part| part.name);
    parts.chain([BARE_SERVER])
}

fn parts() -> String {
    let lines = tablao_benches::PARTS
        .iter()
        .map(|part| (part.name, part.about))
        .chain([(
            BARE_SERVER,
            "not a part: the server that `farm` is compared with",
        )])
        .map(|(name, about)| format!("  {name:<14}{about}"));
    format!("Parts:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Some(name) = self.part.filter(|_| !self.list) else {
            let names = tablao_benches::PARTS.iter().map(|part| part.name);
            names.for_each(|name| println!("{name}"));
            return Ok(());
        };
        tablao_benches::set_folder(self.data.clone());
        if name == BARE_SERVER {
            return Ok(tablao_benches::serve_bare(&self.data)?);
        }
        let part = tablao_benches::part(&name)
            .ok_or_else(|| Exit::new(Code::Usage, format!("there is no part {name:?}")))?;
        let size = match self.size {
            Size::Small => tablao_benches::Size::Small,
            Size::Full => tablao_benches::Size::Full,
        };
        let report = (part.run)(size, &mut |doing| eprintln!("bench {}: {doing}", part.name))?;
        if self.json {
            return output::json(&serde_json::to_value(&report)?);
        }
        println!("{}", table(&report));
        Ok(())
    }
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["FIGURE", "VALUE", "LIMIT", "UNIT", "LIMIT OF"]);
    for figure in &report.results {
        table.add_row(row(figure));
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(figure: &Figure) -> [String; 5] {
    [
        figure.name.clone(),
        number(figure.value),
        figure.limit.map(number).unwrap_or_default(),
        figure.unit.to_owned(),
        figure.limit_of.clone().unwrap_or_default(),
    ]
}

/// Three digits are enough to compare; more would be noise.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.3}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
