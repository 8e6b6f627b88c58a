// SPDX-License-Identifier: GPL-3.0-or-later
// Renders an animation in chunks of frames and makes a preview video of the result.

const JOB_TYPE = {
  label: "Simple Blender Render",
  description: "Render a range of frames in chunks, then make a preview video of them",
  settings: [
    {
      key: "frames",
      type: "string",
      required: true,
      eval: "'%d-%d' % (C.scene.frame_start, C.scene.frame_end)",
      evalInfo: { showLinkButton: true, description: "Scene frame range" },
      description: "Which frames to render, such as 1-10,20-25,40",
    },
    {
      key: "chunk_size",
      type: "int32",
      default: 1,
      propargs: { min: 1 },
      description: "How many frames one task renders",
      visible: "submission",
    },
    {
      key: "render_output_root",
      type: "string",
      subtype: "dir_path",
      required: true,
      visible: "submission",
      description: "The folder below which each job gets a folder for its frames",
    },
    {
      key: "add_path_components",
      type: "int32",
      required: true,
      default: 0,
      propargs: { min: 0, max: 32 },
      visible: "submission",
      description: "How many of the folders above the blend file to repeat in the output path",
    },
    {
      key: "render_output_path",
      type: "string",
      subtype: "file_path",
      editable: false,
      eval:
        "str(Path(abspath(settings.render_output_root)) / last_n_dir_parts(settings.add_path_components)" +
        " / jobname / '{timestamp}' / '######')",
      description: "Where the frames go; worked out from the settings above",
    },
    {
      key: "blendfile",
      type: "string",
      required: true,
      visible: "web",
      description: "The blend file to render",
    },
    { key: "fps", type: "float", visible: "hidden", eval: "C.scene.render.fps / C.scene.render.fps_base" },
    {
      key: "format",
      type: "string",
      required: true,
      visible: "web",
      eval: "C.scene.render.image_settings.file_format",
    },
    {
      key: "image_file_extension",
      type: "string",
      required: true,
      visible: "hidden",
      eval: "C.scene.render.file_extension",
      description: "File name extension of the frames",
    },
    {
      key: "has_previews",
      type: "bool",
      required: false,
      visible: "hidden",
      eval: "C.scene.render.image_settings.use_preview",
      description: "Whether Blender writes JPEG previews beside the frames",
    },
    {
      key: "scene",
      type: "string",
      required: true,
      visible: "web",
      eval: "C.scene.name",
      description: "The scene to render",
    },
  ],
};

// A task renders single images; these formats write one video and cannot be split.
const VIDEO_FORMATS = ["FFMPEG", "AVI_RAW", "AVI_JPEG"];
// FFmpeg does not show these well, so their video is made of Blender's preview images.
const EXR_FORMATS = ["EXR", "MULTILAYER", "OPEN_EXR", "OPEN_EXR_MULTILAYER"];

// Frames that exist already are skipped, so that running a task again costs only what is missing.
const KEEP_EXISTING_FRAMES = [
  "import bpy",
  "render = bpy.context.scene.render",
  "render.use_file_extension = True",
  "render.use_overwrite = False",
  "render.use_placeholder = False",
].join("; ");

function compileJob(job) {
  const settings = job.settings;
  if (VIDEO_FORMATS.includes(settings.format)) {
    throw `cannot render to the video format ${settings.format}: choose an image format`;
  }
  const output = outputPath(job);
  const folder = path.dirname(output);

  const renderTasks = makeRenderTasks(settings, path.join(folder, path.basename(output)));
  const videoTask = makeVideoTask(settings, folder);
  for (const task of renderTasks) {
    job.addTask(task);
  }
  if (videoTask) {
    for (const task of renderTasks) {
      videoTask.addDependency(task);
    }
    job.addTask(videoTask);
  }
}

// Written back to the setting as well, so that people see where the frames really are.
function outputPath(job) {
  const template = job.settings.render_output_path;
  if (!template) {
    throw "setting 'render_output_path' is empty: say where the frames should go";
  }
  const output = template.replaceAll("{timestamp}", formatTimestampLocal(job.created));
  job.settings.render_output_path = output;
  return output;
}

function makeRenderTasks(settings, output) {
  const sceneArguments = settings.scene ? ["--scene", settings.scene] : [];
  const commonArguments = sceneArguments.concat([
    "--python-expr", KEEP_EXISTING_FRAMES,
    "--render-output", output,
    "--render-format", settings.format,
    "--render-frame",
  ]);
  return frameChunker(settings.frames, settings.chunk_size).map((chunk) => {
    const task = author.Task(`render-${chunk}`, "blender");
    const parameters = {
      exe: "{blender}",
      exeArgs: "{blenderArgs}",
      argsBefore: [],
      blendfile: settings.blendfile,
      args: commonArguments.concat(chunk.replaceAll("-", "..")),
    };
    task.addCommand(author.Command("blender-render", parameters, frameCount(chunk)));
    return task;
  });
}

function makeVideoTask(settings, folder) {
  const isExr = EXR_FORMATS.includes(settings.format);
  if (!settings.fps || (isExr && !settings.has_previews)) {
    return null;
  }
  const extension = isExr ? ".jpg" : settings.image_file_extension;
  const blendName = path.stem(settings.blendfile).replace(".flamenco", "");
  const task = author.Task("preview-video", "ffmpeg");
  const parameters = {
    exe: "ffmpeg",
    fps: settings.fps,
    inputGlob: path.join(folder, `*${extension}`),
    outputFile: path.join(folder, `${blendName}-${shortFrames(settings.frames)}.mp4`),
    args: [
      "-c:v", "h264",
      "-crf", "20",
      "-g", "18",
      "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2",
      "-pix_fmt", "yuv420p",
      "-r", settings.fps,
      "-y",
    ],
  };
  task.addCommand(author.Command("frames-to-video", parameters));
  return task;
}

// File names stay short: of a list of frames only the first and the last are named.
function shortFrames(frames) {
  if (!frames.includes(",")) {
    return frames;
  }
  const numbers = frames.match(/\d+/g).map(Number);
  return `${Math.min(...numbers)}-${Math.max(...numbers)}`;
}
