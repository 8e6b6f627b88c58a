// SPDX-License-Identifier: GPL-3.0-or-later
// What the built-in job types share: settings of their forms, paths, command lines.
// A helper module, no job type. Scripts of your own may require("./tablao/common") too.
"use strict";

// FFmpeg and people do not see these well, so previews and videos are made of JPEGs of them.
const EXR_FORMATS = ["EXR", "MULTILAYER", "OPEN_EXR", "OPEN_EXR_MULTILAYER"];
// A task renders single images; these formats write one video and cannot be split.
const VIDEO_FORMATS = ["FFMPEG", "AVI_RAW", "AVI_JPEG"];

// Settings of the forms. Each job type lists those that it has, with changes where it needs them.
const settings = {
  frames: {
    key: "frames",
    type: "string",
    required: true,
    eval: "'%d-%d' % (C.scene.frame_start, C.scene.frame_end)",
    evalInfo: { showLinkButton: true, description: "Scene frame range" },
    description: "Which frames to render, such as 1-10,20-25,40",
  },
  chunk_size: {
    key: "chunk_size",
    type: "int32",
    default: 1,
    propargs: { min: 1 },
    visible: "submission",
    description: "How many frames one task renders",
  },
  render_output_root: {
    key: "render_output_root",
    type: "string",
    subtype: "dir_path",
    required: true,
    visible: "submission",
    description: "The folder below which each job gets a folder for its files",
  },
  add_path_components: {
    key: "add_path_components",
    type: "int32",
    required: true,
    default: 0,
    propargs: { min: 0, max: 32 },
    visible: "submission",
    description: "How many of the folders above the blend file to repeat in the output path",
  },
  render_output_path: {
    key: "render_output_path",
    type: "string",
    subtype: "file_path",
    editable: false,
    eval:
      "str(Path(abspath(settings.render_output_root)) / last_n_dir_parts(settings.add_path_components)" +
      " / jobname / '{timestamp}' / '######')",
    description: "Where the files go; worked out from the settings above",
  },
  blendfile: {
    key: "blendfile",
    type: "string",
    required: true,
    visible: "web",
    description: "The blend file to render",
  },
  fps: {
    key: "fps",
    type: "float",
    visible: "hidden",
    eval: "C.scene.render.fps / C.scene.render.fps_base",
    description: "Frames per second of the video",
  },
  format: {
    key: "format",
    type: "string",
    required: true,
    visible: "web",
    eval: "C.scene.render.image_settings.file_format",
    description: "Image format of the frames",
  },
  image_file_extension: {
    key: "image_file_extension",
    type: "string",
    required: true,
    visible: "hidden",
    eval: "C.scene.render.file_extension",
    description: "File name extension of the frames",
  },
  scene: {
    key: "scene",
    type: "string",
    required: true,
    visible: "web",
    eval: "C.scene.name",
    description: "The scene to render",
  },
  rna_overrides: {
    key: "rna_overrides",
    type: "string",
    default: "",
    label: "RNA overrides",
    visible: "submission",
    description:
      "Python that changes the loaded file before it is rendered, separated by line breaks or ';', " +
      "such as bpy.context.scene.cycles.samples = 16",
  },
};

function required(job, key) {
  const value = job.settings[key];
  if (value === undefined || value === null || value === "") {
    throw `setting '${key}' is missing or empty`;
  }
  return value;
}

// A whole number of at least `min`; `fallback` where nothing was sent.
function wholeNumber(job, key, fallback, min = 1) {
  const value = job.settings[key] ?? fallback;
  if (!Number.isInteger(value) || value < min) {
    throw `setting '${key}' must be a whole number of at least ${min}, got ${value}`;
  }
  return value;
}

// The output path with the time of submission in it; written back, so that people see it.
function outputPath(job) {
  const template = required(job, "render_output_path");
  const output = template.replaceAll("{timestamp}", formatTimestampLocal(job.created));
  job.settings.render_output_path = output;
  return output;
}

// A folder beside the output for what is needed only while the job runs, of this job alone.
function intermediateFolder(job, outputFolder) {
  const time = formatTimestampLocal(job.created);
  return `${outputFolder}__intermediate-${time}-${job.jobID.slice(0, 8)}`;
}

// Every frame of a range as a number.
function frameNumbers(range) {
  return frameChunker(range, 1).map(Number);
}

// A range such as `1-3,7` in the notation of this environment, whatever it was sent in.
function normalRange(range) {
  return frameChunker(range, frameCount(range))[0];
}

// File names stay short: of a list of frames only the first and the last are named.
function shortFrames(range) {
  const normal = normalRange(range);
  if (!normal.includes(",")) {
    return normal;
  }
  const numbers = frameNumbers(range);
  return `${numbers[0]}-${numbers[numbers.length - 1]}`;
}

// The name of the blend file as people know it.
function blendName(blendfile) {
  return path.stem(blendfile).replace(".flamenco", "");
}

const ENSURE_PLAIN_FRAMES = [
  "import bpy",
  "scene = bpy.context.scene",
  "scene.render.use_file_extension = True",
  // What exists is kept, so that running a task again costs only what is missing.
  "scene.render.use_overwrite = False",
  "scene.render.use_placeholder = False",
];

// Options of Blender that run these lines of Python once the file is loaded. An error in them ends
// Blender, instead of rendering something else.
function pythonArguments(lines) {
  return ["--python-exit-code", "47", "--python-expr", lines.join("\n")];
}

// The lines of the setting `rna_overrides`.
function overrideLines(job) {
  const text = job.settings.rna_overrides ?? "";
  const lines = Array.isArray(text) ? text : String(text).split("\n");
  return lines.filter((line) => line.trim() !== "");
}

// A command that runs Blender on the job's file.
function blenderCommand(blendfile, args, options = {}) {
  const parameters = {
    exe: "{blender}",
    exeArgs: "{blenderArgs}",
    argsBefore: [],
    blendfile,
    args,
  };
  if (options.intermediate) {
    parameters.intermediate = true;
  }
  return author.Command("blender-render", parameters, options.steps ?? 0);
}

// The part of a command line that renders `chunk` to `output`.
function renderArguments(output, format, chunk) {
  return [
    "--render-output", output,
    "--render-format", format,
    "--render-frame", chunk.replaceAll("-", ".."),
  ];
}

function sceneArguments(job) {
  return job.settings.scene ? ["--scene", job.settings.scene] : [];
}

// Makes a task of these commands that waits for these tasks, and adds it to the job.
function addTask(job, name, type, commands, parents = [], priority = 50) {
  const task = author.Task(name, type);
  task.priority = priority;
  for (const command of commands) {
    task.addCommand(command);
  }
  for (const parent of parents) {
    task.addDependency(parent);
  }
  job.addTask(task);
  return task;
}

// A command that makes a video of all files that match.
function videoCommand(inputGlob, outputFile, fps, extra = []) {
  const args = [
    "-c:v", "h264",
    "-crf", "20",
    "-g", "18",
    ...extra,
    "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2",
    "-pix_fmt", "yuv420p",
    "-r", fps,
    "-y",
  ];
  return author.Command("frames-to-video", { exe: "ffmpeg", fps, inputGlob, outputFile, args });
}

module.exports = {
  EXR_FORMATS,
  VIDEO_FORMATS,
  ENSURE_PLAIN_FRAMES,
  settings,
  required,
  wholeNumber,
  outputPath,
  intermediateFolder,
  frameNumbers,
  normalRange,
  shortFrames,
  blendName,
  pythonArguments,
  overrideLines,
  blenderCommand,
  renderArguments,
  sceneArguments,
  addTask,
  videoCommand,
};
