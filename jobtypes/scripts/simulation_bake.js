// SPDX-License-Identifier: GPL-3.0-or-later
// Bakes the simulations of a scene once, into files on shared storage, and renders from them on
// any number of workers.
//
// The scene itself is not changed: a copy is saved beside the caches, and that one is rendered.

const common = require("./tablao/common");
const bake = require("./tablao/bake");

const kindSetting = (kind, label) => ({
  key: `bake_${kind}`,
  type: "bool",
  default: true,
  label,
  visible: "submission",
  description: `Bake ${label.toLowerCase()}, if the scene has any`,
});

const JOB_TYPE = {
  label: "Simulation Bake",
  description: "Bake simulations once into files that all workers read, then render",
  settings: [
    common.settings.frames,
    common.settings.chunk_size,
    {
      key: "bake_start",
      type: "int32",
      required: true,
      eval: "C.scene.frame_start",
      evalInfo: { showLinkButton: true, description: "Scene start" },
      visible: "submission",
      description: "First frame of the simulations",
    },
    {
      key: "bake_end",
      type: "int32",
      required: true,
      eval: "C.scene.frame_end",
      evalInfo: { showLinkButton: true, description: "Scene end" },
      visible: "submission",
      description: "Last frame of the simulations",
    },
    kindSetting("rigid_body", "Rigid bodies"),
    kindSetting("cloth", "Cloth and soft bodies"),
    kindSetting("particles", "Particles"),
    kindSetting("fluid", "Fluids"),
    kindSetting("geometry_nodes", "Geometry nodes"),
    {
      key: "bake_folder",
      type: "string",
      subtype: "dir_path",
      default: "",
      visible: "submission",
      description: "Folder on shared storage for the baked files; empty means beside the blend file",
    },
    {
      key: "render",
      type: "bool",
      default: true,
      visible: "submission",
      description: "Render the frames when everything is baked",
    },
    common.settings.render_output_root,
    common.settings.add_path_components,
    common.settings.render_output_path,
    common.settings.blendfile,
    common.settings.fps,
    common.settings.format,
    common.settings.image_file_extension,
    common.settings.scene,
    common.settings.rna_overrides,
  ],
};

function compileJob(job) {
  const settings = job.settings;
  const blendfile = common.required(job, "blendfile");
  const first = common.wholeNumber(job, "bake_start", undefined, -1048574);
  const last = common.wholeNumber(job, "bake_end", undefined, first);
  const baked = bakedFile(job, blendfile);

  const prepare = run(job, "prepare-bake", blendfile, baked,
    bake.pythonToPrepare([first, last], common.overrideLines(job)), []);
  let newest = prepare;
  for (const kind of bake.KINDS) {
    if (settings[`bake_${kind}`] ?? true) {
      newest = run(job, `bake-${kind.replaceAll("_", "-")}`, baked, baked, bake.pythonToBake(kind), [newest]);
    }
  }
  // People find the baked file here.
  settings.baked_file = baked;
  if (settings.render ?? true) {
    render(job, baked, newest);
  }
}

// A file of this job alone: what another job has baked is never touched.
function bakedFile(job, blendfile) {
  const stem = common.blendName(blendfile);
  const parent = job.settings.bake_folder || path.dirname(blendfile);
  const time = formatTimestampLocal(job.created);
  const folder = path.join(parent, `${stem}__bake-${time}-${job.jobID.slice(0, 8)}`);
  return path.join(folder, `${stem}-baked.blend`);
}

function run(job, name, blendfile, baked, lines, parents) {
  const args = [
    ...common.sceneArguments(job),
    ...common.pythonArguments(lines),
    // A path is an argument of its own: the farm translates it for each worker.
    "--", "--tablao-bake", baked,
  ];
  return common.addTask(job, name, "blender", [common.blenderCommand(blendfile, args)], parents);
}

function render(job, baked, newest) {
  const settings = job.settings;
  const format = common.required(job, "format");
  if (common.VIDEO_FORMATS.includes(format)) {
    throw `cannot render to the video format ${format}: choose an image format`;
  }
  const output = common.outputPath(job);
  const folder = path.dirname(output);
  const pattern = path.join(folder, path.basename(output));
  const python = common.pythonArguments(common.ENSURE_PLAIN_FRAMES);
  const range = common.required(job, "frames");
  const renders = frameChunker(range, common.wholeNumber(job, "chunk_size", 1)).map((chunk) => {
    const args = [
      ...common.sceneArguments(job),
      ...python,
      ...common.renderArguments(pattern, format, chunk),
    ];
    const command = common.blenderCommand(baked, args, { steps: frameCount(chunk) });
    return common.addTask(job, `render-${chunk}`, "blender", [command], [newest]);
  });
  const isVideo = settings.fps && frameCount(range) > 1 && !common.EXR_FORMATS.includes(format);
  if (isVideo) {
    const name = `${common.blendName(settings.blendfile)}-${common.shortFrames(range)}.mp4`;
    const images = path.join(folder, `*${settings.image_file_extension || ".png"}`);
    common.addTask(job, "preview-video", "ffmpeg",
      [common.videoCommand(images, path.join(folder, name), settings.fps)], renders);
  }
}
