use serde_json::json;
use std::collections::BTreeMap;
use tablao_jobtypes::*;
fn main() {
    let dir = std::env::temp_dir().join("phases");
    let _ = std::fs::create_dir_all(&dir);
    let steps = [
      ("a_chunks", "const c = frameChunker('1-100000', 1);"),
      ("b_loop", "const c = frameChunker('1-100000', 1).map((chunk) => { return 1; });"),
      ("c_task", "const c = frameChunker('1-100000', 1).map((chunk) => { const t = author.Task(`render-${chunk}`, 'blender'); return t; });"),
      ("d_params", "const sa=['--scene','Scene']; const c = frameChunker('1-100000', 1).map((chunk) => { const t = author.Task(`render-${chunk}`, 'blender'); 
         const parameters = { exe: '{blender}', exeArgs: '{blenderArgs}', argsBefore: [], blendfile: job.settings.blendfile, args: sa.concat(['--python-expr', 'import bpy; render = bpy.context.scene.render; x', '--render-output', '/a/b/c/######', '--render-format', 'PNG', '--render-frame', chunk.replaceAll('-','..')])}; return t; });"),
      ("e_count", "const sa=['--scene','Scene']; const c = frameChunker('1-100000', 1).map((chunk) => { const t = author.Task(`render-${chunk}`, 'blender'); 
         const parameters = { exe: '{blender}', exeArgs: '{blenderArgs}', argsBefore: [], blendfile: job.settings.blendfile, args: sa.concat(['--python-expr', 'import bpy; render = bpy.context.scene.render; x', '--render-output', '/a/b/c/######', '--render-format', 'PNG', '--render-frame', chunk.replaceAll('-','..')])}; frameCount(chunk); return t; });"),
      ("f_command", "const sa=['--scene','Scene']; const c = frameChunker('1-100000', 1).map((chunk) => { const t = author.Task(`render-${chunk}`, 'blender'); 
         const parameters = { exe: '{blender}', exeArgs: '{blenderArgs}', argsBefore: [], blendfile: job.settings.blendfile, args: sa.concat(['--python-expr', 'import bpy; render = bpy.context.scene.render; x', '--render-output', '/a/b/c/######', '--render-format', 'PNG', '--render-frame', chunk.replaceAll('-','..')])}; t.addCommand(author.Command('blender-render', parameters, frameCount(chunk))); return t; });"),
      ("g_add", "const sa=['--scene','Scene']; const c = frameChunker('1-100000', 1).map((chunk) => { const t = author.Task(`render-${chunk}`, 'blender'); 
         const parameters = { exe: '{blender}', exeArgs: '{blenderArgs}', argsBefore: [], blendfile: job.settings.blendfile, args: sa.concat(['--python-expr', 'import bpy; render = bpy.context.scene.render; x', '--render-output', '/a/b/c/######', '--render-format', 'PNG', '--render-frame', chunk.replaceAll('-','..')])}; t.addCommand(author.Command('blender-render', parameters, frameCount(chunk))); return t; }); for (const t of c) job.addTask(t);"),
      ("h_video", "const sa=['--scene','Scene']; const c = frameChunker('1-100000', 1).map((chunk) => { const t = author.Task(`render-${chunk}`, 'blender'); 
         const parameters = { exe: '{blender}', exeArgs: '{blenderArgs}', argsBefore: [], blendfile: job.settings.blendfile, args: sa.concat(['--python-expr', 'import bpy; render = bpy.context.scene.render; x', '--render-output', '/a/b/c/######', '--render-format', 'PNG', '--render-frame', chunk.replaceAll('-','..')])}; t.addCommand(author.Command('blender-render', parameters, frameCount(chunk))); return t; }); for (const t of c) job.addTask(t); const v = author.Task('v', 'misc'); for (const t of c) v.addDependency(t); job.addTask(v);"),
    ];
    for (n, body) in steps {
        std::fs::write(dir.join(format!("{n}.js")), format!("const JOB_TYPE = {{label: 'x', settings: []}};\nfunction compileJob(job) {{\n{body}\n}}")).unwrap();
    }
    let types = JobTypes::open(Options {
        scripts_dir: Some(dir),
        watch: false,
        compile_time_max: std::time::Duration::from_secs(60),
        ..Options::default()
    })
    .unwrap();
    println!("{:?}", types.problems());
    for (n, _) in steps {
        let job = SubmittedJob {
            id: uuid::Uuid::new_v4(),
            name: "bench".into(),
            job_type: n.replace('_', "-"),
            type_etag: None,
            priority: 50,
            settings: json!({"blendfile": "/farm/project/shot_0010.blend"})
                .as_object()
                .unwrap()
                .clone(),
            metadata: BTreeMap::new(),
            submitter_platform: "linux".into(),
            shaman_checkout_id: None,
            worker_tag: None,
            created: jiff::Timestamp::now(),
        };
        let cpu = || {
            let s = std::fs::read_to_string("/proc/self/schedstat").unwrap();
            s.split(' ').next().unwrap().parse::<u64>().unwrap() / 1000
        };
        let at = cpu();
        let compiled = types.compile(job).unwrap();
        println!(
            "{n} {} tasks {} ms cpu",
            compiled.tasks.len(),
            (cpu() - at) / 1000
        );
    }
}
