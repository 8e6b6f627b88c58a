// SPDX-License-Identifier: GPL-3.0-or-later
// One frame in tiles, then a task that merges them. Uses what the single image type of the field
// uses: hundreds of tasks, long generated programs, whole numbers from evals, thrown texts.

const JOB_TYPE = {
  label: "Tiled Image",
  settings: [
    { key: "tile_size_x", type: "int32", default: 64, propargs: { min: 1 } },
    { key: "tile_size_y", type: "int32", default: 64, propargs: { min: 1 } },
    { key: "frame", type: "int32", required: true, eval: "C.scene.frame_current" },
    { key: "resolution_x", type: "int32", required: true, eval: "C.scene.render.resolution_x" },
    { key: "resolution_y", type: "int32", required: true, eval: "C.scene.render.resolution_y" },
    { key: "resolution_scale", type: "int32", required: true, eval: "C.scene.render.resolution_percentage" },
    { key: "render_output_path", type: "string", subtype: "file_path", required: true },
    { key: "blendfile", type: "string", required: true, visible: "web" },
  ],
};

const OVERSCAN = 16;

function compileJob(job) {
  const settings = job.settings;
  if (settings.resolution_scale !== 100) {
    throw "The resolution scale must be 100%";
  }
  // The type has no folder setting; what stands for one must not be the file system's root.
  const folder = path.join(path.dirname(settings.render_output_path), path.basename(settings.no_such_setting));
  const merge = author.Task("merge", "blender");
  for (let y = 0; y < settings.resolution_y; y += settings.tile_size_y) {
    for (let x = 0; x < settings.resolution_x; x += settings.tile_size_x) {
      const task = author.Task(`tile_${x}_${y}`, "blender");
      task.addCommand(render(settings, folder, x, y));
      job.addTask(task);
      merge.addDependency(task);
    }
  }
  merge.addCommand(author.Command("blender-render", {
    exe: "{blender}",
    exeArgs: "{blenderArgs}",
    argsBefore: [],
    blendfile: settings.blendfile,
    args: ["--python-exit-code", 1, "--python-expr", `tiles = ${JSON.stringify([settings.tile_size_x, settings.tile_size_y])}\n`],
  }));
  job.addTask(merge);
}

function render(settings, folder, x, y) {
  const program = [
    "import bpy",
    "render = bpy.context.scene.render",
    "render.use_border = True",
    "render.use_crop_to_border = True",
    `render.border_min_x = ${Math.max(0, x - OVERSCAN) / settings.resolution_x}`,
    `render.border_max_x = ${Math.min(settings.resolution_x, x + settings.tile_size_x + OVERSCAN) / settings.resolution_x}`,
    `render.border_min_y = ${Math.max(0, y - OVERSCAN) / settings.resolution_y}`,
    `render.border_max_y = ${Math.min(settings.resolution_y, y + settings.tile_size_y + OVERSCAN) / settings.resolution_y}`,
    "render.image_settings.file_format = 'OPEN_EXR_MULTILAYER'",
    `render.filepath = '${path.join(folder, `tile_${x}_${y}`)}'`,
  ].join("\n");
  return author.Command("blender-render", {
    exe: "{blender}",
    exeArgs: "{blenderArgs}",
    argsBefore: [],
    blendfile: settings.blendfile,
    args: ["--python-expr", program, "--render-frame", settings.frame],
  });
}
