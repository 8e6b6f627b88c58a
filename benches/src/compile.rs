// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `compile`: a job type script makes the tasks of a large job, in a process of its own as a
//! Manager has it done, and in this one; and a small job, which is the cost of such a process.

use std::{collections::BTreeMap, time::Instant};

use serde_json::json;
use tablao_jobtypes::{JobTypes, Options, SubmittedJob};

use crate::{Error, Progress, Report, Size};

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let frames = size.pick(100_000, 2_000);
    let runs = size.pick(5, 1);
    let small_runs = size.pick(50, 2);
    let mut report = Report::new();
    report.dimension("frames", frames);
    report.dimension("job_type", "simple-blender-render");
    report.dimension("runs", runs);

    progress("in this process");
    let here = median(runs, || seconds(frames, false))?;
    progress("in a process of its own");
    let apart = median(runs, || seconds(frames, true))?;
    progress("small jobs");
    let small_here = median(small_runs, || seconds(1, false))?;
    let small_apart = median(small_runs, || seconds(1, true))?;

    let of = "the same in the measuring process";
    report.figure_beside("compile", apart, "s", here, of);
    let each = |seconds: f64| seconds * 1e6 / f64::from(frames);
    report.figure_beside("per task", each(apart), "us", each(here), of);
    let ms = |seconds: f64| seconds * 1e3;
    report.figure_beside("one frame", ms(small_apart), "ms", ms(small_here), of);
    Ok(report)
}

fn median(runs: usize, mut run: impl FnMut() -> Result<f64, Error>) -> Result<f64, Error> {
    let mut all = (0..runs.max(1))
        .map(|_| run())
        .collect::<Result<Vec<_>, _>>()?;
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

/// How long it takes to compile a render job of this many frames, one a task. `apart`: in a process
/// of its own.
pub(crate) fn seconds(frames: u32, apart: bool) -> Result<f64, Error> {
    let unsound = |error: tablao_jobtypes::Error| Error::Unsound {
        what: error.to_string(),
    };
    let mut options = Options {
        watch: false,
        ..Options::default()
    };
    if !apart {
        options.child = None;
    } else if options.child.is_none() {
        let what = "this program does not run scripts in processes of their own".to_owned();
        return Err(Error::Unsound { what });
    }
    let types = JobTypes::open(options).map_err(unsound)?;
    let settings = json!({
        "frames": format!("1-{frames}"), "chunk_size": 1, "add_path_components": 0,
        "render_output_root": "/srv/render",
        "render_output_path": "/srv/render/sh010/######",
        "blendfile": "/srv/shots/sh010/sh010-lighting.blend",
        "fps": 24, "format": "PNG", "image_file_extension": ".png",
        "has_previews": false, "scene": "Scene",
    });
    let job = SubmittedJob {
        id: uuid::Uuid::from_u128(7),
        name: "sh010 lighting".to_owned(),
        job_type: "simple-blender-render".to_owned(),
        type_etag: None,
        priority: 50,
        settings: settings.as_object().cloned().unwrap_or_default(),
        metadata: BTreeMap::new(),
        submitter_platform: "linux".to_owned(),
        shaman_checkout_id: None,
        worker_tag: None,
        created: jiff::Timestamp::now(),
    };
    let begun = Instant::now();
    let compiled = types.compile(job).map_err(unsound)?;
    let taken = begun.elapsed().as_secs_f64();
    if compiled.tasks.len() != frames as usize + 1 {
        let what = format!("{} tasks for {frames} frames", compiled.tasks.len());
        return Err(Error::Unsound { what });
    }
    Ok(taken)
}
