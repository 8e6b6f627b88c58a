use serde_json::json;
use std::{collections::BTreeMap, time::Instant};
use tablao_jobtypes::*;
fn main() {
    let types = JobTypes::open(Options {
        watch: false,
        compile_time_max: std::time::Duration::from_secs(60),
        ..Options::default()
    })
    .unwrap();
    let n: u32 = std::env::args()
        .nth(1)
        .map_or(100_000, |a| a.parse().unwrap());
    for _ in 0..3 {
        let settings = json!({"frames": format!("1-{n}"), "chunk_size": 1, "render_output_root": "/farm/out", "add_path_components": 0,
            "render_output_path": "/farm/out/{timestamp}/######", "blendfile": "/farm/project/shot_0010.blend", "fps": 24, "format": "PNG",
            "image_file_extension": ".png", "has_previews": false, "scene": "Scene"});
        let serde_json::Value::Object(settings) = settings else {
            panic!()
        };
        let job = SubmittedJob {
            id: uuid::Uuid::new_v4(),
            name: "bench".into(),
            job_type: "simple-blender-render".into(),
            type_etag: None,
            priority: 50,
            settings,
            metadata: BTreeMap::new(),
            submitter_platform: "linux".into(),
            shaman_checkout_id: None,
            worker_tag: None,
            created: jiff::Timestamp::now(),
        };
        let at = Instant::now();
        let compiled = types.compile(job).unwrap();
        println!("{} tasks {:?}", compiled.tasks.len(), at.elapsed());
    }
}
