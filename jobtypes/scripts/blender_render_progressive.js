// SPDX-License-Identifier: GPL-3.0-or-later
// Renders all frames with few samples first, then more and more, with a preview after every pass.
// Passes are merged by their exact numbers of samples; the last merge is published.

const common = require("./tablao/common");
const samples = require("./tablao/samples");

const JOB_TYPE = {
  label: "Blender Render Progressive",
  description: "Cycles: render every frame coarsely first and refine it pass by pass, with previews",
  settings: [
    common.settings.frames,
    { ...common.settings.chunk_size, description: "How many whole frames' worth of the sample cap one task renders" },
    {
      key: "cycles_sample_count",
      type: "int32",
      required: true,
      propargs: { min: 2 },
      eval: "C.scene.cycles.samples",
      evalInfo: { showLinkButton: true, description: "Scene render samples" },
      description: "Samples per pixel of the finished frames",
    },
    {
      key: "cycles_sample_cap",
      type: "int32",
      default: 100,
      propargs: { min: 1 },
      description: "No task renders more samples per frame and pass than this",
    },
    common.settings.render_output_root,
    common.settings.add_path_components,
    common.settings.render_output_path,
    common.settings.blendfile,
    common.settings.fps,
    {
      key: "format",
      type: "string",
      choices: ["OPEN_EXR", "OPEN_EXR_MULTILAYER"],
      default: "OPEN_EXR",
      description: "Passes are merged in full precision, so frames are OpenEXR; multilayer keeps all render passes",
    },
    {
      key: "remove_intermediate",
      type: "bool",
      default: false,
      description: "Remove the single passes when the frames are published",
    },
    {
      key: "uncapped_sample_chunks",
      type: "int32",
      default: 4,
      propargs: { min: 2 },
      visible: "hidden",
      description: "Points of the curve by which passes grow until they reach the cap",
    },
    common.settings.scene,
    common.settings.rna_overrides,
  ],
};

const MERGE_PRIORITY = 1;
const four = (number) => String(number).padStart(4, "0");

function compileJob(job) {
  const settings = job.settings;
  if (settings.cycles_num_chunks !== undefined) {
    throw "setting 'cycles_num_chunks' is of an older client: send 'cycles_sample_count' and 'cycles_sample_cap'";
  }
  const plan = makePlan(job);

  const destroy = common.addTask(job, "destroy-preexisting-intermediate", "storage",
    [author.Command("remove-tree", { path: plan.folder })]);

  let merged = null; // what the newest merge made: file name pattern, and the tasks it takes
  let images = null;
  let video = null;
  plan.ranges.forEach((range, pass) => {
    const rendered = renderPass(job, plan, range, pass, destroy);
    merged = pass === 0 ? rendered : mergePass(job, plan, merged, rendered, range);
    images = previewImages(job, plan, merged, images);
    video = previewVideo(job, plan, images, video);
  });
  publish(job, plan, merged, images, video);
}

// Everything that is worked out before there are tasks.
function makePlan(job) {
  const settings = job.settings;
  const total = common.wholeNumber(job, "cycles_sample_count", undefined, 2);
  const cap = common.wholeNumber(job, "cycles_sample_cap", 100);
  const chunkSize = common.wholeNumber(job, "chunk_size", 1);
  const points = common.wholeNumber(job, "uncapped_sample_chunks", 4, 2);
  const format = settings.format || "OPEN_EXR";
  if (!["OPEN_EXR", "EXR", "OPEN_EXR_MULTILAYER"].includes(format)) {
    throw `passes can only be merged in OPEN_EXR or OPEN_EXR_MULTILAYER, not in ${format}`;
  }
  const output = common.outputPath(job);
  if (!/(^|[^#])#{6}$/.test(output)) {
    throw `setting 'render_output_path' must end in exactly six #, got ${output}`;
  }
  const ranges = samples.sampleRanges(total, cap, points);
  if (ranges.length < 2) {
    throw `${total} samples make only one pass; use more samples, or another job type`;
  }
  const frames = common.normalRange(common.required(job, "frames"));
  const outputFolder = path.dirname(output);
  return {
    blendfile: common.required(job, "blendfile"),
    total,
    ranges,
    samplesPerTask: chunkSize * cap,
    format: format === "EXR" ? "OPEN_EXR" : format,
    frames,
    frameCount: frameCount(frames),
    span: common.frameNumbers(frames),
    output: path.join(outputFolder, path.basename(output)),
    outputFolder,
    folder: common.intermediateFolder(job, outputFolder),
    videos: Boolean(settings.fps) && frameCount(frames) > 1,
  };
}

function renderPass(job, plan, range, pass, destroy) {
  const [first, last] = range;
  const pattern = path.join(plan.folder, `render-smpl-${four(first)}-${four(last)}-######`);
  const python = common.pythonArguments([
    ...common.ENSURE_PLAIN_FRAMES,
    ...common.overrideLines(job),
    ...samples.pythonForRange(plan.total, range, plan.format),
  ]);
  const perTask = samples.framesPerTask(plan.samplesPerTask, plan.frameCount, last - first + 1);
  const tasks = frameChunker(plan.frames, perTask).map((chunk) => {
    const args = [
      ...common.sceneArguments(job),
      ...python,
      ...common.renderArguments(pattern, plan.format, chunk),
    ];
    const options = { steps: frameCount(chunk), intermediate: true };
    const command = common.blenderCommand(plan.blendfile, args, options);
    // Later passes come after earlier ones by priority alone: a free worker need not wait.
    // A minus in front of 0 would be a number of its own in JavaScript.
    const priority = 0 - 10 * pass;
    return common.addTask(job, `render-s_${first}-${last}-f_${chunk}`, "blender", [command], [destroy], priority);
  });
  return { pattern: `${pattern}.exr`, samples: last - first + 1, tasks };
}

function mergePass(job, plan, merged, rendered, range) {
  const last = range[1];
  const pattern = path.join(plan.folder, `merge-smpl-${four(last)}-######.exr`);
  const command = author.Command("merge-exr", {
    inputs: [
      { path: merged.pattern, samples: merged.samples },
      { path: rendered.pattern, samples: rendered.samples },
    ],
    output: pattern,
    frames: plan.frames,
  }, plan.frameCount);
  const name = `merge-to-s_${last}-f_${plan.span[0]}-${plan.span[plan.span.length - 1]}`;
  const parents = [...merged.tasks, ...rendered.tasks];
  const task = common.addTask(job, name, "exr-merge", [command], parents, MERGE_PRIORITY);
  return { pattern, samples: last, tasks: [task] };
}

// Previews wait for those before them, so that an older one never replaces a newer one.
function previewImages(job, plan, merged, before) {
  const command = author.Command("exr-to-jpeg", {
    input: merged.pattern,
    output: path.join(plan.folder, "preview-######.jpg"),
    frames: plan.frames,
  }, plan.frameCount);
  const parents = before ? [before, ...merged.tasks] : merged.tasks;
  return common.addTask(job, "create-preview-images", "exr-merge", [command], parents, MERGE_PRIORITY);
}

function previewVideo(job, plan, images, before) {
  if (!plan.videos) {
    return null;
  }
  const command = common.videoCommand(
    path.join(plan.folder, "preview-*.jpg"), path.join(plan.folder, "preview.mkv"), job.settings.fps);
  const parents = before ? [before, images] : [images];
  return common.addTask(job, "create-preview-video", "ffmpeg", [command], parents, MERGE_PRIORITY);
}

// Old results make room only when the new ones are complete.
function publish(job, plan, merged, images, video) {
  const moved = common.addTask(job, "move-outdir-out-of-way", "storage",
    [author.Command("move-out-of-way", { src: plan.outputFolder })], merged.tasks, MERGE_PRIORITY);
  const files = (src, extension, asFrames) => author.Command("publish-files", {
    src,
    dest: `${plan.output}${extension}`,
    frames: plan.frames,
    asFrames,
    ...(asFrames ? { samples: plan.total } : {}),
  }, plan.frameCount);
  const last = [
    common.addTask(job, "publish-exr-to-output", "storage",
      [files(merged.pattern, ".exr", true)], [moved], MERGE_PRIORITY),
    common.addTask(job, "publish-jpeg-to-output", "storage",
      [files(path.join(plan.folder, "preview-######.jpg"), ".jpg", false)], [images, moved], MERGE_PRIORITY),
  ];
  if (video) {
    const name = `${common.blendName(plan.blendfile)}-${common.shortFrames(plan.frames)}.mkv`;
    const command = author.Command("publish-files", {
      src: path.join(plan.folder, "preview.mkv"),
      dest: path.join(plan.outputFolder, name),
    });
    last.push(common.addTask(job, "publish-video-to-output", "storage", [command], [video, moved], MERGE_PRIORITY));
  }
  if (job.settings.remove_intermediate) {
    const command = author.Command("remove-tree", { path: plan.folder });
    common.addTask(job, "remove-intermediate", "storage", [command], last, MERGE_PRIORITY);
  }
}
