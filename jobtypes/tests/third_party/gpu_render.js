// SPDX-License-Identifier: GPL-3.0-or-later
// A render on a forced GPU, with free arguments before and after the file. Uses what the GPU type
// of the field uses: labels, shellSplit of nothing, native lists, settings that are deleted.

const JOB_TYPE = {
  label: "GPU Render",
  settings: [
    { key: "frames", type: "string", required: true, eval: "f'{C.scene.frame_start}-{C.scene.frame_end}'" },
    { key: "chunk_size", type: "int32", default: 2, label: "Frames per Task" },
    { key: "render_output_path", type: "string", subtype: "file_path", required: true },
    { key: "blendfile", type: "string", required: true, visible: "web" },
    { key: "use_all_gpus", type: "bool", default: true, label: "Use every GPU" },
    { key: "experimental", type: "bool", required: false, label: "Experimental Features" },
    { key: "blender_args_before", type: "string", required: false, label: "Arguments before the File" },
    { key: "blender_args_after", type: "string", required: false, label: "Arguments after the File" },
  ],
};

const DEVICES = `
import bpy
preferences = bpy.context.preferences.addons['cycles'].preferences
preferences.compute_device_type = 'OPTIX'
for device in preferences.get_devices_for_type('OPTIX'):
    device.use = True
`;

function compileJob(job) {
  const settings = job.settings;
  const before = shellSplit(settings.blender_args_before);
  const after = shellSplit(settings.blender_args_after);
  for (const chunk of frameChunker(settings.frames, settings.chunk_size)) {
    const task = author.Task(`gpu-${chunk}`, "blender");
    const frames = ["--render-frame", chunk.replace("-", "..")];
    task.addCommand(author.Command("blender-render", {
      exe: "{blender}",
      exeArgs: "{blenderArgs}",
      argsBefore: before,
      blendfile: settings.blendfile,
      args: ["--python-expr", DEVICES].concat(after, ["--render-output", settings.render_output_path], frames),
    }));
    job.addTask(task);
  }
  // What nobody filled in is not shown with the job.
  for (const key of Object.keys(settings)) {
    if (settings[key] === "" || settings[key] === undefined || settings[key] === null) {
      delete job.settings[key];
    }
  }
}
