// SPDX-License-Identifier: GPL-3.0-or-later
//! A Blender that stays up between tasks: the same pixels as cold starts, and a cold start for
//! whatever goes wrong in it. With the real Blender, and with 4.2 and 5.0 as Python modules where
//! `BPY42_PYTHON` and `BPY50_PYTHON` name them.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is all that is asked for"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use common::process::{Process, blenders_with};
use common::{Manager, RunningWorker, task};
use serde_json::{Value, json};

/// Eyes for Python modules that know no command line.
const BY_BPY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../addon/tests/blender_by_bpy.py"
);

/// A turning cube of 48x27 pixels in Cycles, made once.
fn scene() -> &'static Path {
    static SCENE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SCENE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turning.blend");
        let script = format!(
            "import bpy\n\
             s = bpy.context.scene\n\
             s.render.engine = 'CYCLES'\n\
             s.cycles.samples = 2\n\
             s.cycles.use_denoising = False\n\
             s.render.resolution_x, s.render.resolution_y = 48, 27\n\
             s.render.resolution_percentage = 100\n\
             cube = bpy.data.objects['Cube']\n\
             cube.keyframe_insert('rotation_euler', frame=1)\n\
             cube.rotation_euler[2] = 3.0\n\
             cube.keyframe_insert('rotation_euler', frame=12)\n\
             bpy.ops.wm.save_as_mainfile(filepath={:?})\n",
            path.display().to_string()
        );
        let made = Command::new("blender")
            .args(["-b", "--factory-startup", "--python-expr", &script])
            .output()
            .expect("Blender is installed");
        assert!(path.exists(), "{made:?}");
        (dir, path)
    });
    path
}

/// The command of the built-in job type, with more for Blender's Python to do.
fn render(exe: &str, blend: &Path, python: &str, output: &Path, frames: &str) -> Value {
    json!([{
        "name": "blender-render",
        "parameters": {
            "exe": exe, "exeArgs": "-b -y", "argsBefore": [], "blendfile": blend,
            "args": [
                "--python-expr", format!("import bpy, os, time\nbpy.context.scene.render.use_overwrite = False\n{python}"),
                "--render-output", output.join("f_####"), "--render-format", "PNG",
                "--render-frame", frames,
            ],
        },
        "total_step_count": 1,
    }])
}

/// Runs tasks one after the other in a worker that is set up like this.
async fn run(
    tasks: Vec<(&str, Value)>,
    set_up: impl FnOnce(&mut tablao_agent::Options),
) -> (Manager, tempfile::TempDir, RunningWorker) {
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<&str> = tasks.iter().map(|(name, _)| *name).collect();
    manager.change(|heard| {
        let tasks = tasks.iter();
        heard
            .tasks
            .extend(tasks.map(|(name, commands)| task(name, commands.clone())));
    });
    let worker = RunningWorker::start_with(&manager, dir.path(), set_up);
    for name in names {
        let end = manager.task_end(name).await;
        assert_eq!(end["taskStatus"], "completed", "{}", manager.log(name));
    }
    (manager, dir, worker)
}

fn pixels(folder: &Path, frame: u32) -> Vec<u8> {
    let path = folder.join(format!("f_{frame:04}.png"));
    let picture = image::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    picture.into_bytes()
}

/// Programs to test with: the one on PATH, and the modules that the environment names.
fn blenders(folder: &Path) -> Vec<String> {
    let mut found = vec!["blender".to_owned()];
    for variable in ["BPY42_PYTHON", "BPY50_PYTHON"] {
        let Some(python) = std::env::var_os(variable).filter(|path| Path::new(path).is_file())
        else {
            println!("skipped {variable}: it names no Python with the bpy module");
            continue;
        };
        let program = folder.join(variable);
        let text = format!(
            "#!/bin/sh\nexec '{}' '{BY_BPY}' \"$@\"\n",
            python.to_string_lossy()
        );
        std::fs::write(&program, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        found.push(program.display().to_string());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_cold_and_chunked_frames_have_the_same_pixels() {
    // Protects the promise behind warm Blenders: nobody can tell from a frame how it came to be.
    let programs = tempfile::tempdir().unwrap();
    for exe in blenders(programs.path()) {
        let out = tempfile::tempdir().unwrap();
        let folder = |name: &str| out.path().join(name);
        let of = |name: &str, frames: &str| render(&exe, scene(), "", &folder(name), frames);
        let (manager, _dir, worker) = run(
            vec![
                ("first", of("warm", "3")),
                ("second", of("warm", "9")),
                ("third", of("warm", "5")),
                ("chunk", of("chunk", "3..5,9")),
            ],
            |_| {},
        )
        .await;
        for (name, number) in [("second", 2), ("third", 3), ("chunk", 4)] {
            let log = manager.log(name);
            let words = format!("its task {number}");
            assert!(
                log.contains("rendered in the warm Blender") && log.contains(&words),
                "{log}"
            );
            assert!(
                log.contains("Saved: '") && !log.contains("tablao-warm"),
                "{log}"
            );
            let frames = manager.frames(name);
            assert!(frames[0]["blender_version"].is_string(), "{frames:?}");
            assert_eq!(frames[0]["outcome"], "published");
        }
        let peak = manager.task_end("third").await["tablao"]["peak_memory_bytes"].as_u64();
        assert!(peak.unwrap() > 10_000_000);
        worker.shut_down().await;
        let cold = vec![
            ("cold-3", of("cold", "3")),
            ("cold-5", of("cold", "5")),
            ("cold-9", of("cold", "9")),
        ];
        let (manager, _dir, worker) = run(cold, |options| options.warm.enabled = false).await;
        assert!(
            !manager.log("cold-5").contains("warm"),
            "{}",
            manager.log("cold-5")
        );
        worker.shut_down().await;
        for frame in [3, 5, 9] {
            let warm = pixels(&folder("warm"), frame);
            assert_eq!(
                warm,
                pixels(&folder("cold"), frame),
                "frame {frame} of {exe}"
            );
            assert_eq!(
                warm,
                pixels(&folder("chunk"), frame),
                "frame {frame} of {exe}"
            );
        }
        assert_ne!(pixels(&folder("warm"), 3), pixels(&folder("warm"), 9));
        assert!(!folder("warm").join(".tablao-staging").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_in_it_is_done_by_a_cold_start() {
    // Protects tasks from the warm Blender's faults: a crash, an error, a hang and missing files
    // are the cold start's to judge, each frame is there once, and the log says what happened.
    let out = tempfile::tempdir().unwrap();
    let flags = out.path().join("flags");
    std::fs::create_dir(&flags).unwrap();
    // Each fault happens once: whoever meets the flag takes it away.
    let fault = |name: &str, deed: &str| {
        let flag = flags.join(name);
        std::fs::write(&flag, b"").unwrap();
        format!(
            "def fault(scene, *_):\n    if scene.frame_current == 2 and os.path.exists({flag:?}):\n        \
             os.remove({flag:?})\n        {deed}\nbpy.app.handlers.render_pre.append(fault)"
        )
    };
    let faults = [
        ("crash", "os._exit(3)", "exit code 3"),
        ("hang", "time.sleep(600)", "it hangs"),
        ("error", "scene.camera = None", ""),
    ];
    for (name, deed, words) in faults {
        let folder = out.path().join(name);
        let commands = render("blender", scene(), &fault(name, deed), &folder, "1..3");
        let (manager, _dir, worker) = run(vec![(name, commands)], |options| {
            options.warm.silence = Duration::from_secs(2);
        })
        .await;
        let log = manager.log(name);
        assert!(
            log.contains("Blender is started anew for this task"),
            "{name}: {log}"
        );
        assert!(log.contains(words), "{name}: {log}");
        let mut numbers: Vec<i64> = (manager.frames(name).iter())
            .map(|frame| frame["number"].as_i64().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3], "{name}: {log}");
        worker.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_task_changes_does_not_reach_the_next() {
    // Protects frames from an add-on that leaves its mark on the scene, and from a file that was
    // saved over: the next task gets a fresh Blender and the picture of a cold start.
    let out = tempfile::tempdir().unwrap();
    let blend = out.path().join("copy.blend");
    std::fs::copy(scene(), &blend).unwrap();
    let leak = "def leak(scene, *_):\n    scene.render.resolution_x = 96\n\
                bpy.app.handlers.render_post.append(leak)";
    let folder = out.path().join("frames");
    let manager = Manager::start().await;
    let dir = tempfile::tempdir().unwrap();
    let worker = RunningWorker::start(&manager, dir.path());
    for (name, frame) in [("one", "1"), ("two", "2")] {
        let commands = render("blender", &blend, leak, &folder, frame);
        manager.change(|heard| heard.tasks.push_back(task(name, commands)));
        manager.task_end(name).await;
    }
    let log = manager.log("two");
    assert!(log.contains("render.resolution_x was changed"), "{log}");
    assert_eq!(pixels(&folder, 1).len(), pixels(&folder, 2).len());
    // The artist saves over the file.
    for (name, frame) in [("three", "3"), ("four", "4")] {
        if name == "four" {
            std::fs::copy(scene(), &blend).unwrap();
        }
        let commands = render("blender", &blend, "", &folder, frame);
        manager.change(|heard| heard.tasks.push_back(task(name, commands)));
        manager.task_end(name).await;
    }
    let log = manager.log("four");
    assert!(
        log.contains("the blend file or a script has changed"),
        "{log}"
    );
    worker.shut_down().await;
}

/// What the command line of a warm Blender names, and no other.
fn server_of(data: &Path) -> String {
    data.join("warm/0/warm_server.py").display().to_string()
}

fn blenders_of(data: &Path) -> usize {
    blenders_with(&server_of(data)).len()
}

/// Waits until there are so many.
async fn until_blenders(folder: &Path, count: usize) {
    let wait = async {
        while blenders_of(folder) != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(waited.is_ok(), "never saw {count} warm Blenders");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_when_it_is_not_needed() {
    // Protects the machine's memory: a Blender that waits goes after its time, for another job,
    // before sleep, and with the Worker; one that renders goes when its task is stopped.
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("frames");
    let of = |frame: &str, python: &str| render("blender", scene(), python, &folder, frame);
    let (manager, dir, worker) = run(vec![("one", of("1", ""))], |_| {}).await;
    until_blenders(dir.path(), 1).await;
    let mut other = task("other", json!([]));
    other["job"] = json!("another job");
    manager.change(|heard| heard.tasks.push_back(other));
    manager.task_end("other").await;
    assert_eq!(blenders_of(dir.path()), 0);

    manager.change(|heard| heard.tasks.push_back(task("two", of("2", ""))));
    manager.task_end("two").await;
    until_blenders(dir.path(), 1).await;
    manager.change(|heard| heard.requested = Some("asleep".into()));
    until_blenders(dir.path(), 0).await;
    manager.change(|heard| heard.requested = Some("awake".into()));

    let wait = "def wait(*_):\n    print('waits', flush=True)\n    time.sleep(600)\n\
                bpy.app.handlers.render_pre.append(wait)";
    manager.change(|heard| heard.tasks.push_back(task("stopped", of("3", wait))));
    manager
        .until("the render", |heard| {
            let updates = heard.updates.iter();
            let mut logs = updates.filter_map(|(_, update)| update["log"].as_str());
            logs.any(|log| log.contains("> waits")).then_some(())
        })
        .await;
    manager.change(|heard| heard.stop_running = Some(("cancelled".into(), false)));
    until_blenders(dir.path(), 0).await;
    worker.shut_down().await;

    let (_manager, dir, worker) = run(vec![("four", of("4", ""))], |options| {
        options.warm.idle = Duration::from_millis(500);
    })
    .await;
    until_blenders(dir.path(), 0).await;
    worker.shut_down().await;
}

/// Python that makes the first Blender that comes to frame 2 render it for a very long time, and
/// tells how far a render is, which Blender 5.0 does not do by itself.
fn endless_once(flag: &Path) -> String {
    std::fs::write(flag, b"").unwrap();
    format!(
        "def endless(scene, *_):\n    if scene.frame_current == 2 and os.path.exists({flag:?}):\n        \
         os.remove({flag:?})\n        scene.cycles.use_adaptive_sampling = False\n        \
         scene.cycles.samples = 10 ** 7\nbpy.app.handlers.render_pre.append(endless)\n\
         bpy.app.handlers.render_stats.append(lambda *told: print(*told, flush=True))"
    )
}

/// Frames that are rendered in several ways, each into a folder of its name.
struct Ways {
    exe: String,
    out: tempfile::TempDir,
    frames: &'static str,
}

impl Ways {
    fn folder(&self, way: &str) -> PathBuf {
        self.out.path().join(way)
    }

    fn of(&self, way: &str, frames: &str) -> Value {
        render(&self.exe, scene(), "", &self.folder(way), frames)
    }

    /// The frames, one of which stands still in the middle the first time.
    fn endless(&self, way: &str) -> Value {
        let python = endless_once(&self.out.path().join(format!("{way}-flag")));
        render(&self.exe, scene(), &python, &self.folder(way), self.frames)
    }

    /// Waits until some samples of the endless frame are rendered.
    async fn until_in_the_middle(&self, manager: &Manager, way: &str) {
        let is_sampling = |line: &str| {
            line.contains("10000000") && !line.contains(" 0/") && !line.contains(" 0 /")
        };
        manager
            .until("samples of the frame", |heard| {
                let updates = heard.updates.iter();
                let mut logs = updates.filter_map(|(_, update)| update["log"].as_str());
                logs.any(|log| log.lines().any(is_sampling)).then_some(())
            })
            .await;
        assert!(!self.folder(way).join("f_0002.png").exists());
    }

    /// One frame at a time and all in one go, by cold starts, and all with a Blender that is
    /// killed in the middle, whose task fails and is run again.
    async fn cold(&self) {
        let one = |frame: &'static str| (frame, self.of("cold", frame));
        let mut tasks: Vec<_> = self.numbers().iter().map(|frame| one(frame)).collect();
        tasks.push(("chunk", self.of("chunk", self.frames)));
        let (manager, _dir, worker) = run(tasks, |options| options.warm.enabled = false).await;
        let push = |name: &str, commands: Value| {
            manager.change(|heard| heard.tasks.push_back(task(name, commands)));
        };
        push("killed", self.endless("killed cold"));
        self.until_in_the_middle(&manager, "killed cold").await;
        kill(&blenders_with(
            &self.folder("killed cold").display().to_string(),
        ));
        let end = manager.task_end("killed").await;
        assert_eq!(end["tablao"]["failure"]["signal"], 9, "{end}");
        push("again", self.of("killed cold", self.frames));
        let end = manager.task_end("again").await;
        assert_eq!(end["taskStatus"], "completed", "{}", manager.log("again"));
        worker.shut_down().await;
    }

    /// All with a warm Blender that is killed in the middle: a cold start renders what is missing.
    async fn killed_warm(&self) {
        let (manager, dir, worker) = run(Vec::new(), |_| {}).await;
        let commands = self.endless("killed warm");
        manager.change(|heard| heard.tasks.push_back(task("killed", commands)));
        self.until_in_the_middle(&manager, "killed warm").await;
        kill(&blenders_with(&server_of(dir.path())));
        let end = manager.task_end("killed").await;
        let log = manager.log("killed");
        assert_eq!(end["taskStatus"], "completed", "{log}");
        assert!(log.contains("ended by signal 9"), "{log}");
        worker.shut_down().await;
    }

    /// All with a Worker that is killed in the middle, and another one after it.
    async fn killed_worker(&self) {
        let manager = Manager::start().await;
        let dir = tempfile::tempdir().unwrap();
        let push = |name: &str, commands: Value| {
            manager.change(|heard| heard.tasks.push_back(task(name, commands)));
        };
        push("killed", self.endless("killed worker"));
        let process = Process::start(&manager, dir.path());
        self.until_in_the_middle(&manager, "killed worker").await;
        process.kill().await;
        push("again", self.of("killed worker", self.frames));
        let process = Process::start(&manager, dir.path());
        let end = manager.task_end("again").await;
        assert_eq!(end["taskStatus"], "completed", "{}", manager.log("again"));
        process.kill().await;
    }

    fn numbers(&self) -> &'static [&'static str] {
        if self.frames == "2" {
            &["2"]
        } else {
            &["1", "2", "3"]
        }
    }

    fn compare(&self, way: &str) {
        for frame in self.numbers() {
            let number = frame.parse().unwrap();
            assert_eq!(
                pixels(&self.folder("cold"), number),
                pixels(&self.folder(way), number),
                "frame {frame}, {way}, {}",
                self.exe
            );
        }
    }
}

fn kill(processes: &[i32]) {
    use nix::sys::signal::{Signal, kill};
    assert_eq!(processes.len(), 1, "there is one Blender to kill");
    kill(nix::unistd::Pid::from_raw(processes[0]), Signal::SIGKILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_chunks_and_after_kills_have_the_pixels_of_single_cold_renders() {
    // Protects artists from pictures that show what happened on the farm: frames of a chunk, and
    // those rendered again after a kill in the middle of Blender or Worker, are like any other.
    let ways = |exe: String, frames: &'static str| Ways {
        exe,
        out: tempfile::tempdir().unwrap(),
        frames,
    };
    let blender = ways("blender".to_owned(), "1..3");
    tokio::join!(
        blender.cold(),
        blender.killed_warm(),
        blender.killed_worker()
    );
    for way in ["chunk", "killed cold", "killed warm", "killed worker"] {
        blender.compare(way);
    }
    let cold = |frame: u32| pixels(&blender.folder("cold"), frame);
    assert!(cold(1) != cold(2) && cold(2) != cold(3), "nothing moves");

    // The others take their time; warm, cold and chunked they are compared in every run.
    let programs = tempfile::tempdir().unwrap();
    let is_soak = std::env::var("TABLAO_SOAK").is_ok_and(|soak| soak == "1");
    let mut others = blenders(programs.path()).split_off(1);
    others.retain(|_| is_soak);
    for exe in others {
        let module = ways(exe, "2");
        tokio::join!(module.cold(), module.killed_worker());
        module.compare("killed worker");
        module.compare("killed cold");
    }
}
