// SPDX-License-Identifier: GPL-3.0-or-later
//! Measures Tablao's parts, one module per bench.

pub mod reconstruction;
mod render_history;
pub mod report;

/// Makes a journal of jobs with this many tasks, so many rendered.
pub fn make(
    folder: &std::path::Path,
    jobs: u32,
    tasks_of_job: u32,
    rendered: u32,
) -> Result<tablao_core::Farm, report::Error> {
    let files =
        tablao_journal::RealFiles::create(folder).map_err(|error| report::Error(error.into()))?;
    let mut maker = render_history::Maker::new(std::sync::Arc::new(files))?;
    maker.run(render_history::Shape {
        jobs,
        tasks_of_job,
        rendered,
        workers: 300,
    })?;
    maker.close()
}
