// SPDX-License-Identifier: GPL-3.0-or-later
//! Regeneration and requeueing on a real farm whose Worker renders with the Blender on PATH: which
//! tasks ran is read from the events, what became of the frames from their files.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::harness::Farm;

/// A task for each frame, and one that only says something when they are all there.
const SCRIPT: &str = r#"
const JOB_TYPE = { label: "Shot", settings: [
    { key: "frames", type: "string", required: true },
    { key: "samples", type: "int32", default: 1 },
    { key: "blendfile", type: "string", required: true },
    { key: "output", type: "string", required: true, subtype: "dir_path" },
]};
function compileJob(job) {
    const settings = job.settings;
    const sum = author.Task("sum", "misc");
    sum.addCommand(author.Command("echo", { message: "WORDS" }));
    for (const frame of frameChunker(settings.frames, 1)) {
        const task = author.Task("render-" + frame, "blender");
        task.addCommand(author.Command("blender-render", {
            exe: "{blender}", exeArgs: "{blenderArgs}", argsBefore: [], blendfile: settings.blendfile,
            args: ["--python-expr", "import bpy; bpy.context.scene.cycles.samples = " + settings.samples,
                "--render-output", path.join(settings.output, '######'), "--render-format", "PNG",
                "--render-frame", frame],
        }, 1));
        sum.addDependency(task);
        job.addTask(task);
    }
    job.addTask(sum);
}
"#;

const SCENE: &str = r#"
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.use_denoising = False
scene.render.resolution_x = 48
scene.render.resolution_y = 27
scene.render.resolution_percentage = 100
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

fn make_scene(path: &Path) {
    let made = Command::new("blender")
        .args([
            "-b",
            "--factory-startup",
            "--python-exit-code",
            "1",
            "--python-expr",
            SCENE,
            "--",
        ])
        .arg(path)
        .output()
        .expect("blender is on PATH; make setup-test installs it");
    assert!(made.status.success() && path.exists(), "{made:?}");
}

/// What the farm answers at an address.
fn get(url: &str, path: &str) -> Value {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

struct Shot {
    farm: Farm,
    job: String,
    output: std::path::PathBuf,
}

impl Shot {
    fn put_script(farm: &Path, words: &str) {
        let scripts = farm.join("scripts");
        std::fs::create_dir_all(&scripts).unwrap();
        std::fs::write(scripts.join("shot.js"), SCRIPT.replace("WORDS", words)).unwrap();
    }

    fn read(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--json"]].concat();
        self.farm.run(&arguments).ended(0).json()
    }

    /// Names of the tasks that were handed out so far, in order.
    fn assigned(&self) -> Vec<String> {
        let path = format!("/api/farm/v1/events?limit=1000&job={}", self.job);
        let events = get(&self.farm.url, &path);
        let tasks = self.names();
        let events = events["items"].as_array().unwrap().iter();
        let assigned = events.filter(|event| event["kind"] == "AttemptAssigned");
        assigned
            .map(|event| tasks[event["task"].as_str().unwrap()].clone())
            .collect()
    }

    /// Names of all tasks that the job ever had.
    fn names(&self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        for more in [&[][..], &["--retired"]] {
            let list = self.read(&[&["tasks", "list", &self.job], more].concat());
            for task in list["items"].as_array().unwrap() {
                let text = |key: &str| task[key].as_str().unwrap().to_owned();
                names.insert(text("id"), text("name"));
            }
        }
        names
    }

    /// Content of each frame's file.
    fn frames(&self) -> BTreeMap<String, Vec<u8>> {
        let files = std::fs::read_dir(&self.output).unwrap();
        let files = files
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file());
        files
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read(&path).unwrap())
            })
            .collect()
    }

    /// Does something to the job, waits for its end, and tells which tasks that took.
    fn ran(&self, arguments: &[&str]) -> Vec<String> {
        let before = self.assigned().len();
        self.farm.run(arguments).ended(0);
        self.farm.run(&["jobs", "wait", &self.job]).ended(0);
        self.assigned().split_off(before)
    }
}

/// The promise of regeneration, with real frames: after the samples, the frames and the script
/// change, just what has to run does; frames of changed tasks are rendered over the old ones, all
/// others stay as they are; and what a worker rendered is rendered anew on request.
#[test]
fn real_frames_are_rendered_anew_where_they_have_to() {
    let folder = tempfile::tempdir().unwrap();
    let blend = folder.path().join("shot.blend");
    make_scene(&blend);
    let output = folder.path().join("frames");
    let farm = Farm::start_with(1, |data| Shot::put_script(data, "one"));
    let submitted = farm.run(&[
        "submit",
        "--type",
        "shot",
        "--set",
        "frames=1-2",
        "--meta",
        "sequence=010",
        "--set",
        &format!("output={}", output.display()),
        blend.to_str().unwrap(),
    ]);
    let job = submitted.ended(0).out.trim().to_owned();
    farm.run(&["jobs", "wait", &job]).ended(0);
    let shot = Shot { farm, job, output };
    let job = shot.job.as_str();
    let first = shot.frames();
    assert_eq!(first.len(), 2);

    let preview = shot.read(&["jobs", "regenerate", job, "--set", "samples=9", "--preview"]);
    assert_eq!(preview["changed"]["count"], 3);
    let etag = preview["etag"].as_str().unwrap();
    let stale = [
        "jobs",
        "regenerate",
        job,
        "--set",
        "samples=7",
        "--if-match",
        etag,
    ];
    shot.farm.run(&stale).ended(5).says(&["since the preview"]);
    let ran = shot.ran(&[
        "jobs",
        "regenerate",
        job,
        "--set",
        "samples=9",
        "--if-match",
        etag,
    ]);
    assert_eq!(ran, ["render-1", "render-2", "sum"]);
    let second = shot.frames();
    assert_eq!(
        second.len(),
        2,
        "the same names, and nothing beside them: {:?}",
        second.keys()
    );
    assert!(second.iter().all(|(name, content)| first[name] != *content));

    let ran = shot.ran(&["jobs", "regenerate", job, "--set", "frames=2-3"]);
    assert_eq!(ran, ["render-3", "sum"]);
    let third = shot.frames();
    assert_eq!(
        third.len(),
        3,
        "what vanished from the job stays on the disk"
    );
    assert!(second.iter().all(|(name, content)| third[name] == *content));

    Shot::put_script(&shot.farm.data(), "two");
    let changed = || shot.read(&["jobs", "regenerate", job, "--preview"])["changed"]["count"] == 1;
    crate::harness::wait_for("the changed script", || changed().then_some(()));
    assert_eq!(shot.ran(&["jobs", "regenerate", job]), ["sum"]);

    // What this worker rendered is no good: the same frames again, from the first to the last.
    let worker = shot.read(&["workers", "list"])["items"][0]["name"].clone();
    let by_worker = [
        "jobs",
        "requeue",
        job,
        "--by-worker",
        worker.as_str().unwrap(),
    ];
    let rendered = |path: &[&str]| shot.read(path)["items"].as_array().unwrap().clone();
    let before = rendered(&["frames", "list", "--job", job]);
    assert_eq!(shot.ran(&by_worker), ["render-2", "render-3", "sum"]);
    let after = rendered(&["frames", "list", "--job", job]);
    assert_eq!((before.len(), after.len()), (3, 3));
    let task = rendered(&["tasks", "list", job, "--name", "render-3"]);
    assert_eq!(
        shot.ran(&[
            "tasks",
            "requeue",
            task[0]["id"].as_str().unwrap(),
            "--with-dependants"
        ]),
        ["render-3", "sum"]
    );

    assert_eq!(
        rendered(&["jobs", "list", "--meta", "sequence=010"]).len(),
        1
    );
    assert_eq!(
        rendered(&["jobs", "list", "--meta", "sequence=020"]).len(),
        0
    );
    assert_eq!(
        rendered(&["tasks", "list", job, "--retired"]).len(),
        3 + 2 + 1
    );
}
