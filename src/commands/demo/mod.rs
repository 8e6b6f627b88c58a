// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao demo`: a scene, a farm, a job, frames, a video, on one machine and in one folder.
//!
//! It goes the public ways only: the farm is a process of its own, the job goes in through the
//! API. What it says in the end it has looked at.

mod check;
mod farm;
mod tools;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tablao_core::{JobId, ShotId};

use self::{
    farm::RunningFarm,
    tools::{Home, Tools},
};
use crate::{
    client::{self, Farm},
    exit::{Code, Exit},
    follow, journals,
};

/// As many as the scene has; see demo/make_scene.py.
const FRAME_LAST: u32 = 24;
const FRAME_SIZE: (u32, u32) = (640, 360);
const FRAMES_PER_SECOND: u32 = 24;
const SCENE: &str = "tablao";
/// Large enough that starting Blender is not most of the work, small enough to show a farm.
const FRAMES_PER_TASK: u32 = 3;
/// A thumbnail may come in a moment after its frame.
const THUMBNAILS_WITHIN: Duration = Duration::from_secs(30);

/// Render a small animated scene on a farm of your own, from nothing to a video.
///
/// Makes the scene with Blender, starts a farm in DIR, submits the scene through the API,
/// renders every frame, makes a video with FFmpeg, and checks what came out. It writes nowhere
/// but in DIR. Run again, it keeps what is there and renders into a new folder beside it.
///
/// Example: tablao demo --out /tmp/farm-demo
#[derive(Args)]
pub(crate) struct Demo {
    /// Where everything goes: scene, farm data, frames, video.
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    out: PathBuf,
    /// How many workers render.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: u32,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let out = std::path::absolute(&self.out).context("find the folder of --out")?;
        super::utf8(&out)?;
        let tools = Tools::find()?;
        std::fs::create_dir_all(&out)
            .with_context(|| format!("make the folder {}", out.display()))?;
        let home = Home::create(&out)?;
        let done = self.rendered(&tools, &home, &out);
        home.remove();
        let done = done?;

        println!();
        println!(
            "Frames      {}  ({FRAME_LAST} of {} x {})",
            done.frames.display(),
            FRAME_SIZE.0,
            FRAME_SIZE.1
        );
        println!("Video       {}", done.video.display());
        println!("Thumbnails  {}", done.thumbnails.display());
        for line in verify_journals(&done.data)? {
            println!("Journal     {line}");
        }
        println!("Dashboard   tablao up --data {}", done.data.display());
        println!("            then open http://127.0.0.1:8080/app/");
        println!("Done in {} s.", begun.elapsed().as_secs());
        Ok(())
    }

    fn rendered(&self, tools: &Tools, home: &Home, out: &Path) -> anyhow::Result<Done> {
        println!("Making the scene with {}", tools.blender.display());
        let blend = tools::make_scene(tools, home, out)?;
        let data = out.join("farm");
        let mut running = RunningFarm::start(&data, &out.join("farm.log"), home, self.workers)?;
        println!("The farm runs; watch it at {}/app/", running.url);
        let frames = fresh_folder(out);
        let rendered = client::block_on(async {
            tokio::select! {
                rendered = render(&mut running, &blend, &frames, &data) => rendered,
                _ = tokio::signal::ctrl_c() => Err(Exit::new(
                    Code::Failed,
                    "stopped on request; `tablao demo` begins anew",
                ).into()),
            }
        });
        // The farm is ended in order whatever came of the job.
        let stopped = running.stop();
        let thumbnails = rendered?;
        stopped?;
        let count = check::frames(&frames, 1..=FRAME_LAST, FRAME_SIZE)?;
        let video = check::video(&tools.ffprobe, &frames, count)?;
        Ok(Done {
            frames,
            video,
            thumbnails,
            data,
        })
    }
}

/// Where everything is.
struct Done {
    frames: PathBuf,
    video: PathBuf,
    thumbnails: PathBuf,
    data: PathBuf,
}

/// `frames`, or the first of `frames-2`, `frames-3`, ... that is not there: what an earlier run
/// rendered stays, and the farm's history stays true.
fn fresh_folder(out: &Path) -> PathBuf {
    let mut folder = out.join("frames");
    let mut number = 2;
    while folder.exists() {
        folder = out.join(format!("frames-{number}"));
        number += 1;
    }
    folder
}

/// Submits the scene and follows it to its end; gives the folder of the thumbnails.
async fn render(
    running: &mut RunningFarm,
    blend: &Path,
    frames: &Path,
    data: &Path,
) -> anyhow::Result<PathBuf> {
    let farm = running.ready().await?;
    cancel_leftovers(&farm).await?;
    let key = uuid::Uuid::new_v4().to_string();
    let job = farm
        .post_once("/api/v3/jobs", &submission(blend, frames)?, &key)
        .await?;
    let id = job["id"]
        .as_str()
        .context("the farm did not name the job")?;
    println!("Submitted job {id}");
    let ended = follow::follow(&farm, id, "steps").await?;
    if !ended.is_completed() {
        let why = follow::why_not_completed(&farm, &ended).await;
        return Err(Exit::new(Code::Failed, why).into());
    }
    let shot = ShotId::of_job(
        id.parse::<JobId>()
            .context("the farm's job id is not a UUID")?,
    );
    let thumbnails = data.join("thumbnails").join(shot.to_string());
    let begun = Instant::now();
    while check::thumbnails(&thumbnails) < FRAME_LAST as usize {
        if begun.elapsed() > THUMBNAILS_WITHIN {
            return Err(Exit::new(
                Code::Failed,
                format!(
                    "{} of {FRAME_LAST} thumbnails are in {}; farm.log says why the others are not",
                    check::thumbnails(&thumbnails),
                    thumbnails.display()
                ),
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(thumbnails)
}

/// An earlier demo that was cut short left a job, which the farm would go on with.
async fn cancel_leftovers(farm: &Farm) -> anyhow::Result<()> {
    let listed = farm.get("/api/v3/jobs", &[]).await?;
    for job in listed["jobs"].as_array().into_iter().flatten() {
        let status = job["status"].as_str().unwrap_or_default();
        if matches!(status, "queued" | "active" | "paused") {
            let id = job["id"].as_str().unwrap_or_default();
            println!("An earlier demo was cut short; canceling its job {id}");
            let body = json!({ "status": "cancel-requested", "reason": "a new demo begins" });
            farm.post(&format!("/api/v3/jobs/{id}/setstatus"), &body)
                .await?;
        }
    }
    Ok(())
}

fn submission(blend: &Path, frames: &Path) -> anyhow::Result<Value> {
    Ok(json!({
        "name": "Tablao demo",
        "type": "simple-blender-render",
        "submitter_platform": super::platform(),
        "settings": {
            "blendfile": super::utf8(blend)?,
            "frames": format!("1-{FRAME_LAST}"),
            "chunk_size": FRAMES_PER_TASK,
            "render_output_root": super::utf8(frames)?,
            "add_path_components": 0,
            "render_output_path": super::utf8(&frames.join("######"))?,
            "format": "PNG",
            "image_file_extension": ".png",
            "fps": FRAMES_PER_SECOND,
            "has_previews": false,
            "scene": SCENE,
        },
    }))
}

/// Checks every journal of the farm; a line for each.
fn verify_journals(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for journal in journals::find(data)? {
        let verified = journal.verify()?;
        lines.push(format!(
            "{} is whole: {} records, chain {}",
            journal.name(),
            verified.records,
            verified.chain
        ));
    }
    Ok(lines)
}
