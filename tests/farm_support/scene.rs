// SPDX-License-Identifier: GPL-3.0-or-later
//! A tiny animated Cycles scene made by the Blender on PATH, and the submission that renders it.
//!
//! Small enough that a frame takes a fraction of a second, so that Blender's own start weighs
//! most; large enough that kills fall into the middle of rendering too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

const SCRIPT: &str = r#"
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = 160
scene.cycles.use_denoising = False
scene.render.resolution_x = 96
scene.render.resolution_y = 54
scene.render.resolution_percentage = 100
cube = bpy.data.objects["Cube"]
cube.rotation_euler[2] = 0.0
cube.keyframe_insert("rotation_euler", frame=1)
cube.rotation_euler[2] = 3.0
cube.keyframe_insert("rotation_euler", frame=24)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

/// Pixels of a frame.
pub(crate) const SIZE: (u32, u32) = (96, 54);

/// The programs that these tests cannot do without; says what to run when one is missing.
pub(crate) fn require_programs() {
    for program in ["blender", "ffmpeg"] {
        let found = Command::new(program).arg("-version").output();
        assert!(
            found.is_ok(),
            "{program} is not on PATH; run: make setup-test (or: apt-get install -y blender ffmpeg)"
        );
    }
}

/// The scene's file; made once per test binary.
pub(crate) fn blend_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        require_programs();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("kills-{}.blend", std::process::id()));
        let output = Command::new("blender")
            .args(["-b", "--factory-startup", "--python-exit-code", "1"])
            .args(["--python-expr", SCRIPT, "--"])
            .arg(&path)
            .output()
            .expect("blender runs");
        assert!(
            output.status.success() && path.exists(),
            "blender made no scene: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        path
    })
}

/// A submission of frames 1 to `frames`, with its frames in `output`.
pub(crate) fn submission(frames: u32, chunk_size: u32, output: &Path) -> Value {
    json!({
        "name": "kills", "type": "simple-blender-render", "priority": 50,
        "submitter_platform": std::env::consts::OS,
        "settings": {
            "frames": format!("1-{frames}"), "chunk_size": chunk_size,
            "render_output_root": output, "add_path_components": 0,
            "render_output_path": output.join("######"),
            "blendfile": blend_file(), "fps": 24, "format": "PNG",
            "image_file_extension": ".png", "has_previews": false, "scene": "Scene",
        },
    })
}
