// SPDX-License-Identifier: GPL-3.0-or-later
// Renders an animation in chunks of frames, with what the scene's owner may want to change for the
// farm, and makes a preview video; of OpenEXR frames too.
//
// Frames get their final names one by one as they are whole, so no folder in between is needed.

const common = require("./tablao/common");

const JOB_TYPE = {
  label: "Blender Render",
  description: "Render a range of frames in chunks, with overrides for the farm, then make a preview video",
  settings: [
    common.settings.frames,
    common.settings.chunk_size,
    {
      key: "samples",
      type: "int32",
      default: 0,
      propargs: { min: 0 },
      visible: "submission",
      description: "Cycles and EEVEE samples per pixel; 0 means as in the file",
    },
    {
      key: "resolution_percentage",
      type: "int32",
      default: 0,
      propargs: { min: 0, max: 1000 },
      visible: "submission",
      description: "Size of the frames in percent of the file's resolution; 0 means as in the file",
    },
    {
      key: "cycles_device",
      type: "string",
      choices: ["as in the file", "CPU", "CUDA", "OPTIX", "HIP", "ONEAPI", "METAL"],
      default: "as in the file",
      visible: "submission",
      description: "What Cycles renders on; workers that do not have it fail the task",
    },
    {
      key: "preview_video",
      type: "bool",
      default: true,
      visible: "submission",
      description: "Make a video of the frames when all are rendered",
    },
    common.settings.render_output_root,
    common.settings.add_path_components,
    common.settings.render_output_path,
    common.settings.blendfile,
    common.settings.fps,
    common.settings.format,
    common.settings.image_file_extension,
    common.settings.scene,
    {
      key: "blender_args_before",
      type: "string",
      default: "",
      label: "Blender arguments before the file",
      visible: "submission",
      description: "Further options of Blender before the file, quoted as in a shell",
    },
    {
      key: "blender_args_after",
      type: "string",
      default: "",
      label: "Blender arguments after the file",
      visible: "submission",
      description: "Further options of Blender between the file and the render, quoted as in a shell",
    },
    common.settings.rna_overrides,
  ],
};

const DEVICES = ["CPU", "CUDA", "OPTIX", "HIP", "ONEAPI", "METAL"];

function compileJob(job) {
  const settings = job.settings;
  const format = common.required(job, "format");
  if (common.VIDEO_FORMATS.includes(format)) {
    throw `cannot render to the video format ${format}: choose an image format`;
  }
  const output = common.outputPath(job);
  const folder = path.dirname(output);
  const pattern = path.join(folder, path.basename(output));
  const range = common.required(job, "frames");
  const renders = frameChunker(range, common.wholeNumber(job, "chunk_size", 1))
    .map((chunk) => renderTask(job, pattern, format, chunk));
  if (settings.preview_video !== false && settings.fps && frameCount(range) > 1) {
    videoTask(job, folder, pattern, format, renders);
  }
}

function renderTask(job, pattern, format, chunk) {
  const settings = job.settings;
  const device = settings.cycles_device;
  const known = DEVICES.includes(device);
  if (device && !known && device !== "as in the file") {
    throw `setting 'cycles_device' must be one of ${DEVICES.join(", ")}, got ${device}`;
  }
  const args = [
    ...common.sceneArguments(job),
    ...common.pythonArguments([
      ...common.ENSURE_PLAIN_FRAMES,
      ...pythonForSettings(job),
      ...common.overrideLines(job),
    ]),
    ...shellSplit(settings.blender_args_after ?? ""),
    ...common.renderArguments(pattern, format, chunk),
    ...(known ? ["--", "--cycles-device", device] : []),
  ];
  const command = author.Command("blender-render", {
    exe: "{blender}",
    exeArgs: "{blenderArgs}",
    argsBefore: shellSplit(settings.blender_args_before ?? ""),
    blendfile: common.required(job, "blendfile"),
    args,
  }, frameCount(chunk));
  return common.addTask(job, `render-${chunk}`, "blender", [command]);
}

function pythonForSettings(job) {
  const lines = [];
  const sampleCount = common.wholeNumber(job, "samples", 0, 0);
  if (sampleCount > 0) {
    lines.push(
      "if hasattr(scene, 'cycles'):",
      `    scene.cycles.samples = ${sampleCount}`,
      "if hasattr(scene.eevee, 'taa_render_samples'):",
      `    scene.eevee.taa_render_samples = ${sampleCount}`,
    );
  }
  const percentage = common.wholeNumber(job, "resolution_percentage", 0, 0);
  if (percentage > 0) {
    lines.push(`scene.render.resolution_percentage = ${percentage}`);
  }
  return lines;
}

function videoTask(job, folder, pattern, format, renders) {
  const { frames, blendfile, fps, image_file_extension } = job.settings;
  const video = path.join(folder, `${common.blendName(blendfile)}-${common.shortFrames(frames)}.mp4`);
  if (!common.EXR_FORMATS.includes(format)) {
    const extension = image_file_extension || ".png";
    const command = common.videoCommand(path.join(folder, `*${extension}`), video, fps);
    common.addTask(job, "preview-video", "ffmpeg", [command], renders);
    return;
  }
  if (!/#/.test(path.basename(pattern))) {
    return;
  }
  const previews = common.intermediateFolder(job, folder);
  const images = author.Command("exr-to-jpeg", {
    input: `${pattern}.exr`,
    output: path.join(previews, "preview-######.jpg"),
    frames: common.normalRange(frames),
  }, frameCount(frames));
  common.addTask(job, "preview-video", "video-encoding", [
    images,
    common.videoCommand(path.join(previews, "preview-*.jpg"), video, fps),
    author.Command("remove-tree", { path: previews }),
  ], renders);
}
