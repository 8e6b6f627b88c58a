// SPDX-License-Identifier: GPL-3.0-or-later
// Exports an edit: renders and encodes chunks of it at the same time, joins them without encoding
// again, and adds the sound.

const common = require("./tablao/common");

const JOB_TYPE = {
  label: "Video Encode",
  description: "Render an edit in chunks that are encoded at the same time, join them and add the sound",
  settings: [
    common.settings.frames,
    { ...common.settings.chunk_size, default: 250, description: "How many frames one task renders and encodes" },
    common.settings.render_output_root,
    common.settings.add_path_components,
    common.settings.render_output_path,
    common.settings.blendfile,
    { ...common.settings.fps, required: true },
    {
      key: "extract_audio",
      type: "bool",
      default: true,
      visible: "submission",
      label: "Sound",
      description: "Mix the sound of the scene down and add it to the video",
    },
    {
      key: "output_file_extension",
      type: "string",
      choices: [".mp4", ".mkv"],
      default: ".mp4",
      visible: "submission",
      description: "Kind of the video file",
    },
    {
      key: "frame_format",
      type: "string",
      choices: ["PNG", "JPEG"],
      default: "PNG",
      visible: "submission",
      description: "Format of the frames in between: PNG loses nothing, JPEG needs less room",
    },
    {
      key: "quality",
      type: "int32",
      default: 20,
      propargs: { min: 0, max: 51 },
      visible: "submission",
      description: "Constant quality of the video; lower is better and larger",
    },
    common.settings.scene,
    common.settings.rna_overrides,
  ],
};

const five = (number) => String(number).padStart(5, "0");
const EXTENSIONS = { PNG: ".png", JPEG: ".jpg" };

function compileJob(job) {
  const plan = makePlan(job);
  const moved = common.addTask(job, "move-out-of-way", "storage",
    [author.Command("move-out-of-way", { src: plan.work })]);
  const chunks = frameChunker(plan.frames, plan.chunkSize).map((chunk) => encodeChunk(job, plan, chunk, moved));

  const video = path.join(plan.work, `video${plan.extension}`);
  const joined = common.addTask(job, "concatenate-videos", "video-encoding", [
    author.Command("concatenate-videos", {
      exe: "ffmpeg",
      // Told and not read from the files, some of which know it to the millisecond only.
      inputFiles: chunks.map(({ file, seconds }) => ({ path: file, seconds })),
      outputFile: video,
    }),
  ], chunks.map(({ task }) => task));

  const result = plan.hasAudio ? addSound(job, plan, video, joined, moved) : { task: joined, file: video };
  const date = formatTimestampLocal(job.created).slice(0, 10).replaceAll("-", "_");
  const name = `${date}-${common.blendName(plan.blendfile)}${plan.extension}`;
  common.addTask(job, "move-with-counter", "storage", [
    author.Command("move-with-counter", { src: result.file, dest: path.join(plan.folder, name) }),
  ], [result.task]);
}

function makePlan(job) {
  const settings = job.settings;
  const frames = common.normalRange(common.required(job, "frames"));
  const numbers = common.frameNumbers(frames);
  const span = [numbers[0], numbers[numbers.length - 1]];
  const hasAudio = settings.extract_audio ?? true;
  if (hasAudio && span[1] - span[0] + 1 !== numbers.length) {
    throw `frames ${frames} have gaps, and sound has none: export without sound, or one range`;
  }
  const fps = common.required(job, "fps");
  if (!(fps > 0)) {
    throw `setting 'fps' must be more than 0, got ${fps}`;
  }
  const format = settings.frame_format || "PNG";
  if (!(format in EXTENSIONS)) {
    throw `setting 'frame_format' must be PNG or JPEG, got ${format}`;
  }
  const folder = path.dirname(common.outputPath(job));
  return {
    blendfile: common.required(job, "blendfile"),
    frames, span, hasAudio, fps, format, folder,
    chunkSize: common.wholeNumber(job, "chunk_size", 250),
    quality: common.wholeNumber(job, "quality", 20, 0),
    extension: settings.output_file_extension || ".mp4",
    work: path.join(folder, "frames"),
  };
}

// Renders a chunk and makes a video of it.
function encodeChunk(job, plan, chunk, moved) {
  const numbers = common.frameNumbers(chunk);
  const name = `chunk-${five(numbers[0])}-${five(numbers[numbers.length - 1])}`;
  const folder = path.join(plan.work, name);
  const args = [
    ...common.sceneArguments(job),
    ...common.pythonArguments([...common.ENSURE_PLAIN_FRAMES, ...common.overrideLines(job)]),
    ...common.renderArguments(path.join(folder, "######"), plan.format, chunk),
  ];
  const render = common.blenderCommand(plan.blendfile, args, { steps: numbers.length, intermediate: true });
  const rendered = common.addTask(job, `frame-chunk-${chunk}`, "blender", [render], [moved]);
  const file = path.join(plan.work, `${name}${plan.extension}`);
  // Without frames that refer to later ones, the chunks can be joined as they are.
  const encode = author.Command("frames-to-video", {
    exe: "ffmpeg",
    fps: plan.fps,
    inputGlob: path.join(folder, `*${EXTENSIONS[plan.format]}`),
    outputFile: file,
    args: [
      "-c:v", "h264", "-crf", String(plan.quality), "-g", "18", "-bf", "0",
      "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-r", plan.fps, "-y",
    ],
  });
  const task = common.addTask(job, `video-chunk-${chunk}`, "ffmpeg", [encode], [rendered]);
  return { task, file, seconds: numbers.length / plan.fps };
}

function addSound(job, plan, video, joined, moved) {
  const sound = path.join(plan.work, "audio.flac");
  const mix = common.blenderCommand(plan.blendfile, [
    ...common.sceneArguments(job),
    ...common.pythonArguments([
      "import bpy, os, sys",
      "scene = bpy.context.scene",
      ...common.overrideLines(job),
      `scene.frame_start, scene.frame_end = ${plan.span[0]}, ${plan.span[1]}`,
      // Paths come as arguments of their own: the farm translates them for each worker.
      "place = sys.argv[sys.argv.index('--tablao-sound') + 1]",
      "os.makedirs(os.path.dirname(place), exist_ok=True)",
      "part = place[:-5] + '.part.flac'",
      "bpy.ops.sound.mixdown(filepath=part, container='FLAC', codec='FLAC', accuracy=128)",
      "os.replace(part, place)",
    ]),
    "--", "--tablao-sound", sound,
  ]);
  const mixed = common.addTask(job, "render-audio", "blender", [mix], [moved]);
  // This container tells how much silence the encoder put before the sound, so it stays in time.
  const encodedFile = path.join(plan.work, "audio.m4a");
  const encode = author.Command("encode-audio", {
    exe: "ffmpeg", inputFile: sound, outputFile: encodedFile, codec: "aac", bitrate: "192k",
  });
  const encoded = common.addTask(job, "encode-audio", "video-encoding", [encode], [mixed]);
  const file = path.join(plan.work, `muxed${plan.extension}`);
  const mux = author.Command("mux-audio", {
    exe: "ffmpeg", videoFile: video, audioFile: encodedFile, outputFile: file,
  });
  const task = common.addTask(job, "mux-audio-video", "video-encoding", [mux], [encoded, joined]);
  return { task, file };
}
