// SPDX-License-Identifier: GPL-3.0-or-later
//! Simulations that one worker bakes and others render from.

use std::path::Path;

use serde_json::json;

use crate::farm::{Blender, Farm};

/// A cube that falls, and a cloth that falls on a sphere: nothing moves without being simulated.
const SCENE: &str = r#"
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = 1
scene.cycles.use_denoising = False
scene.render.resolution_x, scene.render.resolution_y = 48, 36
scene.render.resolution_percentage = 100
scene.frame_start, scene.frame_end = 1, 20
cube = bpy.data.objects["Cube"]
cube.location = (2, -1, 2)
bpy.ops.rigidbody.world_add()
bpy.context.view_layer.objects.active = cube
cube.select_set(True)
bpy.ops.rigidbody.object_add()
bpy.ops.mesh.primitive_uv_sphere_add(segments=12, ring_count=8, location=(-1, 0, 0))
bpy.ops.object.modifier_add(type="COLLISION")
bpy.ops.mesh.primitive_grid_add(x_subdivisions=9, y_subdivisions=9, size=3, location=(-1, 0, 1.3))
bpy.context.object.modifiers.new("Cloth", "CLOTH")
# Out of sight: that these are baked is seen in their files.
bpy.ops.mesh.primitive_uv_sphere_add(radius=0.5, location=(0, 0, -60))
emitter = bpy.context.object
emitter.modifiers.new("Dust", "PARTICLE_SYSTEM")
emitter.particle_systems[0].settings.count = 20
bpy.ops.object.quick_smoke()
domain = bpy.context.object
domain.modifiers["Fluid"].domain_settings.resolution_max = 12
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

/// Renders frame 20 of a file, with every frame before it looked at if `stepping`.
fn render(blender: &Blender, scene: &Path, output: &Path, stepping: bool) {
    let python = if stepping {
        "import bpy
for frame in range(1, 21):
    bpy.context.scene.frame_set(frame)"
    } else {
        "import bpy"
    };
    blender.run(&[
        &scene.display().to_string(),
        "--python-exit-code",
        "1",
        "--python-expr",
        python,
        "-o",
        &output.display().to_string(),
        "-F",
        "PNG",
        "-f",
        "20",
    ]);
}

/// How far two pictures are apart: the mean difference of a byte.
fn distance(one: &Path, other: &Path) -> f64 {
    let open = |path: &Path| {
        let picture = image::open(path);
        picture
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .to_rgb8()
            .into_raw()
    };
    let (one, other) = (open(one), open(other));
    assert_eq!(one.len(), other.len());
    let sum: u64 = one
        .iter()
        .zip(&other)
        .map(|(one, other)| u64::from(one.abs_diff(*other)))
        .sum();
    sum as f64 / one.len() as f64
}

#[test]
fn caches_of_one_worker_are_rendered_by_another() {
    // Protects simulations on a farm: frames that are rendered alone, on a machine that simulated
    // nothing, show what was baked; and the artist's own file stays as it was.
    let blender = Blender::installed();
    let farm = Farm::start(&blender);
    let scene = farm.folder().join("shot.blend");
    blender.make_scene(&scene, SCENE);
    let before = std::fs::read(&scene).expect("the scene");
    let output = farm.folder().join("out");
    let caches = farm.folder().join("caches");
    let job = farm.complete(
        "simulation-bake",
        &json!({
            "blendfile": scene, "frames": "1,5,10,15,18,20", "chunk_size": 1, "bake_start": 1,
            "bake_end": 20, "bake_geometry_nodes": false, "bake_folder": caches, "format": "PNG",
            "image_file_extension": ".png", "render_output_path": output.join("######"),
            "scene": "Scene",
        }),
    );
    let moved = farm.folder().join("stepped_");
    let still = farm.folder().join("still_");
    render(&blender, &scene, &moved, true);
    render(&blender, &scene, &still, false);
    let baked = output.join("000020.png");
    let simulated = farm.folder().join("stepped_0020.png");
    let unsimulated = farm.folder().join("still_0020.png");
    let (to_simulated, to_unsimulated) =
        (distance(&baked, &simulated), distance(&baked, &unsimulated));
    println!("from the simulated frame {to_simulated}, from the other {to_unsimulated}");
    assert!(to_simulated < 0.05, "{to_simulated}");
    assert!(
        to_unsimulated > 10.0 * to_simulated.max(0.1),
        "{to_unsimulated}"
    );

    // All of it lies below the named folder, and the scene is untouched.
    let shown = farm.get(&format!("/api/v3/jobs/{job}"));
    let copy = shown["settings"]["baked_file"].as_str().expect("a file");
    assert!(Path::new(copy).starts_with(&caches), "{copy}");
    let cache = Path::new(copy).with_file_name("blendcache_shot-baked");
    let files = std::fs::read_dir(&cache).expect("caches").count();
    // Twenty of the cloth, twenty of the particles.
    assert!(files >= 40, "{files} files in {}", cache.display());
    let smoke = Path::new(copy)
        .with_file_name("fluid_Smoke_Domain")
        .join("data");
    let files = std::fs::read_dir(&smoke).expect("smoke").count();
    assert!(files >= 20, "{files} files in {}", smoke.display());
    assert_eq!(std::fs::read(&scene).expect("the scene"), before);

    // Two workers took part in the renders, so one of them had baked less than everything.
    let tasks = farm.tasks(&job);
    let workers = |start: &str| -> std::collections::BTreeSet<String> {
        let ours = tasks.iter().filter(|task| {
            let name = task["name"].as_str();
            name.is_some_and(|name| name.starts_with(start))
        });
        ours.map(|task| {
            let id = task["id"].as_str().expect("an id");
            let attempts = farm.get(&format!("/api/farm/v1/tasks/{id}/attempts"));
            let worker = attempts["items"][0]["worker"]["name"].as_str();
            worker.expect("a worker").to_owned()
        })
        .collect()
    };
    assert_eq!(workers("render-").len(), 2);
    println!("baked by {:?}", workers("bake-"));
}

/// A cube that a simulation zone moves up a little with every frame.
const NODES: &str = r#"
import bpy, sys
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = 1
scene.cycles.use_denoising = False
scene.render.resolution_x, scene.render.resolution_y = 48, 36
scene.render.resolution_percentage = 100
group = bpy.data.node_groups.new("rise", "GeometryNodeTree")
for in_out in ("INPUT", "OUTPUT"):
    group.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
begin = group.nodes.new("NodeGroupInput")
end = group.nodes.new("NodeGroupOutput")
zone = group.nodes.new("GeometryNodeSimulationInput")
result = group.nodes.new("GeometryNodeSimulationOutput")
zone.pair_with_output(result)
move = group.nodes.new("GeometryNodeTransform")
move.inputs["Translation"].default_value = (0, 0, 0.1)
group.links.new(begin.outputs[0], zone.inputs["Geometry"])
group.links.new(zone.outputs["Geometry"], move.inputs["Geometry"])
group.links.new(move.outputs[0], result.inputs["Geometry"])
group.links.new(result.outputs["Geometry"], end.inputs[0])
cube = bpy.data.objects["Cube"]
cube.modifiers.new("Rise", "NODES").node_group = group
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
"#;

#[test]
fn simulation_zones_are_baked_too() {
    // Protects geometry nodes, whose caches are kept in another way than all others.
    let Some(blender) = Blender::module("BPY50_PYTHON") else {
        println!("skipped: no newer Blender in BPY50_PYTHON");
        return;
    };
    let farm = Farm::start(&blender);
    let scene = farm.folder().join("shot.blend");
    blender.make_scene(&scene, NODES);
    let output = farm.folder().join("out");
    farm.complete(
        "simulation-bake",
        &json!({
            "blendfile": scene, "frames": "20", "chunk_size": 1, "bake_start": 1, "bake_end": 20,
            "bake_rigid_body": false, "bake_cloth": false, "bake_particles": false,
            "bake_fluid": false, "format": "PNG", "image_file_extension": ".png",
            "render_output_path": output.join("######"), "scene": "Scene",
        }),
    );
    render(&blender, &scene, &farm.folder().join("stepped_"), true);
    render(&blender, &scene, &farm.folder().join("still_"), false);
    let baked = output.join("000020.png");
    let to_simulated = distance(&baked, &farm.folder().join("stepped_0020.png"));
    let to_unsimulated = distance(&baked, &farm.folder().join("still_0020.png"));
    assert!(to_simulated < 0.05, "{to_simulated}");
    assert!(to_unsimulated > 1.0, "{to_unsimulated}");
}
