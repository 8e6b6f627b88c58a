// SPDX-License-Identifier: GPL-3.0-or-later
//! Part `worker`: what a Worker loses between frames. A light and a heavier Cycles scene, one frame
//! a task, rendered by real Blenders through a real Manager: by our Worker with a Blender that stays
//! up, by the same with a cold start a task, and by one that polls as Flamenco's does.
//!
//! Blender itself notes when it begins a frame and when it has written it, on the machine's
//! monotonic clock; dead time is what lies between the one and the next. It needs `blender` and
//! `python3` on PATH.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Error, Progress, Report, Size,
    child::Child,
    http::{Connection, request},
    latency::Latencies,
    load, place,
};

/// One task a frame, and a script that notes when frames begin and end.
const JOB_TYPE: &str = r#"// SPDX-License-Identifier: GPL-3.0-or-later
const JOB_TYPE = { label: "Bench", settings: [
  { key: "frames", type: "int32", required: true },
  { key: "blendfile", type: "string", required: true },
  { key: "output", type: "string", required: true },
  { key: "python", type: "string", required: true },
] };
function compileJob(job) {
  const settings = job.settings;
  for (let frame = 1; frame <= settings.frames; frame++) {
    const task = author.Task(`frame-${frame}`, "blender");
    task.addCommand(author.Command("blender-render", {
      exe: "blender", exeArgs: "-b -y", argsBefore: [], blendfile: settings.blendfile,
      args: ["--python-expr", settings.python, "-o", settings.output, "-F", "PNG", "-f", frame],
    }, 1));
    job.addTask(task);
  }
}
"#;

/// The polling worker; the one that the tests use.
const POLLING: &str = include_str!("../../tests/flamenco/worker.py");

/// Width, height and samples.
type Picture = (u32, u32, u32);
const LIGHT: Picture = (128, 72, 8);
const HEAVY: Picture = (400, 225, 48);

/// What hangs is told, not waited for.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How tasks come to be rendered.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Warm,
    Cold,
    Polling,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Polling => "polling",
        }
    }
}

/// A scene and how often it is rendered.
struct Load {
    name: &'static str,
    blend: PathBuf,
    frames: u32,
    /// A worker that polls needs seven seconds a frame, whatever the frame.
    frames_polling: u32,
}

/// What one way made of one scene.
struct Measured {
    frames: u32,
    wall: Duration,
    dead: Latencies,
}

impl Measured {
    fn per_minute(&self) -> f64 {
        f64::from(self.frames) * 60.0 / self.wall.as_secs_f64()
    }
}

/// Measures it.
pub(crate) fn run(size: Size, progress: Progress<'_>) -> Result<Report, Error> {
    let mut report = Report::new();
    let folder = place::scratch("worker")?;
    let data = std::path::absolute(folder.path()).map_err(Error::system("find the folder"))?;
    progress("making the scenes");
    let (light, heavy) = (data.join("light.blend"), data.join("heavy.blend"));
    make_scene(&light, LIGHT)?;
    let heavy_picture = size.pick(HEAVY, LIGHT);
    make_scene(&heavy, heavy_picture)?;
    let loads = [
        Load {
            name: "light",
            blend: light,
            frames: size.pick(100, 3),
            frames_polling: size.pick(100, 1),
        },
        Load {
            name: "heavy",
            blend: heavy,
            frames: size.pick(10, 2),
            frames_polling: size.pick(10, 0),
        },
    ];
    report.dimension("frames_a_task", 1);
    for (name, (width, height, samples)) in [("light", LIGHT), ("heavy", heavy_picture)] {
        let picture = format!("{width}x{height}, {samples} samples");
        report.dimension(&format!("{name}_picture"), picture);
    }
    for load in &loads {
        report.dimension(&format!("{}_frames", load.name), load.frames);
        report.dimension(
            &format!("{}_frames_polling", load.name),
            load.frames_polling,
        );
    }
    let runtime = load::runtime()?;
    let mut cold = [0.0; 2];
    // The ways that are compared closely run close together; the long one, which mostly sleeps, last.
    for way in [Way::Cold, Way::Warm, Way::Polling] {
        for (load, cold) in loads.iter().zip(&mut cold) {
            let frames = if way == Way::Polling {
                load.frames_polling
            } else {
                load.frames
            };
            if frames == 0 {
                continue;
            }
            progress(&format!("the {} scene, {}", load.name, way.name()));
            let place = data.join(format!("{}-{}", load.name, way.name()));
            let mut measured = runtime.block_on(measure(way, load, frames, &place))?;
            if way == Way::Cold {
                *cold = measured.per_minute();
            }
            add(&mut report, load, way, &mut measured, *cold);
        }
    }
    Ok(report)
}

fn add(report: &mut Report, load: &Load, way: Way, measured: &mut Measured, cold: f64) {
    let name = format!("{}, {}", load.name, way.name());
    report.figure(
        format!("{name}: submission to the job's end"),
        measured.wall.as_secs_f64(),
        "s",
    );
    let rate = measured.per_minute();
    if way == Way::Cold {
        report.figure(format!("{name}: throughput"), rate, "frames/min");
    } else {
        let of = "a cold start a task, same run";
        report.figure_beside(format!("{name}: throughput"), rate, "frames/min", cold, of);
    }
    for (share, words) in [(0.5, "p50"), (0.95, "p95"), (1.0, "most")] {
        let dead = measured.dead.percentile_ms(share);
        report.figure(format!("{name}: dead time {words}"), dead, "ms");
    }
}

fn make_scene(path: &Path, (width, height, samples): Picture) -> Result<(), Error> {
    let script = format!(
        "import bpy\n\
         s = bpy.context.scene\n\
         s.render.engine = 'CYCLES'\n\
         s.cycles.samples = {samples}\n\
         s.cycles.use_denoising = False\n\
         s.cycles.use_adaptive_sampling = False\n\
         s.render.resolution_x, s.render.resolution_y = {width}, {height}\n\
         s.render.resolution_percentage = 100\n\
         cube = bpy.data.objects['Cube']\n\
         cube.keyframe_insert('rotation_euler', frame=1)\n\
         cube.rotation_euler[2] = 3.0\n\
         cube.keyframe_insert('rotation_euler', frame=100)\n\
         bpy.ops.wm.save_as_mainfile(filepath={:?})\n",
        path.display().to_string()
    );
    let made = Command::new("blender")
        .args(["-b", "--factory-startup", "--python-expr", &script])
        .output()
        .map_err(Error::system("start blender"))?;
    if made.status.success() && path.exists() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&made.stderr);
    Err(unsound(format!("Blender made no scene: {words}")))
}

/// Runs a farm of one worker for one job.
async fn measure(way: Way, load: &Load, frames: u32, place: &Path) -> Result<Measured, Error> {
    let farm = place.join("farm");
    write(&farm.join("scripts/bench_frames.js"), JOB_TYPE)?;
    let manager = Child::manager(&farm)?;
    let worker = Running::start(way, manager.address, place)?;
    let mut connection = Connection::open(manager.address).await?;
    until(&mut connection, "/api/v3/worker-mgt/workers", |answer| {
        answer["workers"][0]["status"] == "awake"
    })
    .await?;
    let trace = place.join("trace");
    let python = format!(
        "import bpy, time\n\
         def note(word):\n    \
         def write(scene, *_):\n        \
         with open({:?}, 'a') as file:\n            \
         print(word, time.monotonic_ns(), file=file)\n    \
         return write\n\
         bpy.app.handlers.render_pre.append(note('begins'))\n\
         bpy.app.handlers.render_write.append(note('ends'))\n",
        trace.display().to_string()
    );
    let job = json!({
        "name": "frames", "type": "bench-frames", "priority": 50,
        "submitter_platform": "linux", "metadata": {},
        "settings": {
            "frames": frames, "blendfile": load.blend.to_string_lossy(), "python": python,
            "output": place.join("frames/######").to_string_lossy(),
        },
    });
    let begun = Instant::now();
    let bytes = request("POST", "/api/v3/jobs", "", &job.to_string());
    let answer = connection.call(&bytes).await?.expect("a submission", 200)?;
    let answer: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let path = format!("/api/v3/jobs/{}", answer["id"].as_str().unwrap_or_default());
    let ended = until(&mut connection, &path, |answer| {
        matches!(
            answer["status"].as_str(),
            Some("completed" | "failed" | "canceled")
        )
    })
    .await?;
    let wall = begun.elapsed();
    if ended["status"] != "completed" {
        return Err(unsound(format!("the job ended as {}", ended["status"])));
    }
    drop(worker);
    manager.stop()?;
    let text = std::fs::read_to_string(&trace).map_err(|source| Error::File {
        doing: "read",
        path: trace,
        source,
    })?;
    Ok(Measured {
        frames,
        wall,
        dead: dead_times(&text, frames)?,
    })
}

/// What lies between the end of a frame and the beginning of the next.
fn dead_times(trace: &str, frames: u32) -> Result<Latencies, Error> {
    let mut dead = Latencies::default();
    let mut ended: Option<u64> = None;
    let mut begun = 0;
    for line in trace.lines() {
        let (word, at) = line.split_once(' ').unwrap_or_default();
        let at: u64 = at.parse().unwrap_or_default();
        if word == "ends" {
            ended = Some(at);
            continue;
        }
        begun += 1;
        if let Some(ended) = ended {
            dead.note(Duration::from_nanos(at.saturating_sub(ended)));
        }
    }
    if begun == frames {
        return Ok(dead);
    }
    Err(unsound(format!("{begun} frames were begun, not {frames}")))
}

/// A worker as a process of its own; it ends with the value.
struct Running(std::process::Child);

impl Running {
    fn start(way: Way, manager: SocketAddr, place: &Path) -> Result<Self, Error> {
        let url = format!("http://{manager}");
        let home = place.join("worker");
        let mut command = if way == Way::Polling {
            let script = place.join("polling_worker.py");
            write(&script, POLLING)?;
            let mut command = Command::new("python3");
            command.arg(script).args(["--manager", &url, "--home"]);
            command.arg(home);
            command
        } else {
            let program = std::env::current_exe().map_err(Error::system("find this program"))?;
            let mut command = Command::new(program);
            command.args(["worker", "--manager", &url, "--data"]);
            command.arg(home);
            if way == Way::Cold {
                command.arg("--no-warm");
            }
            command
        };
        command
            .env("TABLAO_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .map_err(Error::system("start a worker"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it started ends with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(
    connection: &mut Connection,
    path: &str,
    seen: impl Fn(&Value) -> bool,
) -> Result<Value, Error> {
    let bytes = request("GET", path, "", "");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = connection.call(&bytes).await?.expect(path, 200)?;
        let answer: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        if seen(&answer) {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(unsound(format!("waited in vain at {path}")))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| Error::File {
            doing: "write",
            path: path.to_owned(),
            source,
        })
}

fn unsound(what: String) -> Error {
    Error::Unsound { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects the figure: dead time is from an end to the next beginning, and a frame that was
    /// begun twice or never is no run to report.
    #[test]
    fn dead_time_lies_between_frames() {
        let trace = "begins 1000000\nends 5000000\nbegins 7000000\nends 9000000\n";
        let mut dead = dead_times(trace, 2).unwrap_or_default();
        assert_eq!(dead.percentile_ms(1.0), 2.0);
        assert!(dead_times(trace, 3).is_err());
    }
}
