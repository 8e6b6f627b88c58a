// SPDX-License-Identifier: GPL-3.0-or-later
// Renders one frame on many workers: in tiles, in ranges of samples, or both, and puts the picture
// together without a seam.

const common = require("./tablao/common");
const samples = require("./tablao/samples");

const JOB_TYPE = {
  label: "Single Image Render",
  description: "Cycles: render one frame in tiles and ranges of samples on many workers",
  settings: [
    {
      key: "frame",
      type: "int32",
      required: true,
      eval: "C.scene.frame_current",
      evalInfo: { showLinkButton: true, description: "Current frame" },
      description: "The frame to render",
    },
    {
      key: "tiles_across",
      type: "int32",
      default: 4,
      propargs: { min: 1, max: 256 },
      description: "Into how many columns the picture is cut",
    },
    {
      key: "tiles_down",
      type: "int32",
      default: 4,
      propargs: { min: 1, max: 256 },
      description: "Into how many rows the picture is cut",
    },
    {
      key: "sample_splits",
      type: "int32",
      default: 1,
      propargs: { min: 1, max: 1024 },
      description: "Among how many tasks the samples of each tile are divided",
    },
    {
      key: "cycles_sample_count",
      type: "int32",
      required: true,
      propargs: { min: 1 },
      eval: "C.scene.cycles.samples",
      evalInfo: { showLinkButton: true, description: "Scene render samples" },
      description: "Samples per pixel of the finished picture",
    },
    {
      key: "resolution_x",
      type: "int32",
      required: true,
      visible: "web",
      eval: "C.scene.render.resolution_x * C.scene.render.resolution_percentage // 100",
      description: "Width of the picture in pixels",
    },
    {
      key: "resolution_y",
      type: "int32",
      required: true,
      visible: "web",
      eval: "C.scene.render.resolution_y * C.scene.render.resolution_percentage // 100",
      description: "Height of the picture in pixels",
    },
    common.settings.render_output_root,
    common.settings.add_path_components,
    common.settings.render_output_path,
    common.settings.blendfile,
    {
      key: "format",
      type: "string",
      choices: ["OPEN_EXR", "OPEN_EXR_MULTILAYER"],
      default: "OPEN_EXR",
      description: "Tiles are joined in full precision, so the picture is OpenEXR; multilayer keeps all render passes",
    },
    {
      key: "remove_intermediate",
      type: "bool",
      default: false,
      description: "Remove the tiles when the picture is published",
    },
    common.settings.scene,
    common.settings.rna_overrides,
  ],
};

function compileJob(job) {
  const plan = makePlan(job);
  const clean = common.addTask(job, "remove-old-tiles", "storage",
    [author.Command("remove-tree", { path: plan.folder })]);
  const tiles = plan.tiles.map((tile) => {
    const parts = plan.ranges.map((range) => renderPart(job, plan, tile, range, clean));
    return parts.length === 1 ? { tile, ...parts[0] } : mergeTile(job, plan, tile, parts);
  });
  const whole = path.join(plan.folder, "whole.exr");
  const join = common.addTask(job, "join-tiles", "exr-merge", [
    author.Command("join-exr-tiles", {
      tiles: tiles.map(({ tile, file }) => ({ path: file, x: tile.x, y: tile.y })),
      width: plan.width,
      height: plan.height,
      output: whole,
    }),
    author.Command("exr-to-jpeg", { input: whole, output: path.join(plan.folder, "whole.jpg") }),
  ], tiles.map(({ task }) => task));
  publish(job, plan, whole, join);
}

function makePlan(job) {
  const settings = job.settings;
  const width = common.wholeNumber(job, "resolution_x");
  const height = common.wholeNumber(job, "resolution_y");
  const frame = common.wholeNumber(job, "frame", undefined, 0);
  const total = common.wholeNumber(job, "cycles_sample_count");
  const columns = cut(width, common.wholeNumber(job, "tiles_across", 4));
  const rows = cut(height, common.wholeNumber(job, "tiles_down", 4));
  const splits = common.wholeNumber(job, "sample_splits", 1);
  if (columns.length * rows.length === 1 && splits === 1) {
    throw "one tile and one range of samples is a whole render: cut the picture, or use another job type";
  }
  const format = settings.format || "OPEN_EXR";
  if (!["OPEN_EXR", "OPEN_EXR_MULTILAYER"].includes(format)) {
    throw `tiles can only be joined in OPEN_EXR or OPEN_EXR_MULTILAYER, not in ${format}`;
  }
  const output = common.outputPath(job);
  const outputFolder = path.dirname(output);
  const tiles = rows.flatMap(([y, bottom]) =>
    columns.map(([x, right]) => ({ x, y, width: right - x, height: bottom - y })));
  return {
    blendfile: common.required(job, "blendfile"),
    width, height, frame, total, format, tiles,
    ranges: samples.equalRanges(total, splits),
    output: path.join(outputFolder, path.basename(output)),
    folder: common.intermediateFolder(job, outputFolder),
  };
}

// Cuts `size` pixels into `count` pieces [from, to) that differ by one pixel at most.
function cut(size, count) {
  const pieces = Math.min(count, size);
  return Array.from({ length: pieces }, (_, index) => [
    Math.floor((size * index) / pieces), Math.floor((size * (index + 1)) / pieces),
  ]);
}

function renderPart(job, plan, tile, range, clean) {
  const [first, last] = range;
  const name = `tile-${tile.x}-${tile.y}-s_${first}-${last}`;
  const pattern = path.join(plan.folder, `${name}-######`);
  const args = [
    ...common.sceneArguments(job),
    ...common.pythonArguments([
      ...common.ENSURE_PLAIN_FRAMES,
      ...common.overrideLines(job),
      ...samples.pythonForRange(plan.total, range, plan.format),
      ...pythonForTile(plan, tile),
    ]),
    ...common.renderArguments(pattern, plan.format, String(plan.frame)),
  ];
  const command = common.blenderCommand(plan.blendfile, args, { steps: 1, intermediate: true });
  const task = common.addTask(job, name, "blender", [command], [clean]);
  const file = path.join(plan.folder, `${name}-${String(plan.frame).padStart(6, "0")}.exr`);
  return { task, file, samples: last - first + 1 };
}

// Python that makes Blender render just this tile. Borders are shares of the picture, counted from
// below; Blender cuts them off to whole pixels, so each is set a hundredth of a pixel further.
function pythonForTile(plan, tile) {
  const bottom = plan.height - tile.y - tile.height;
  return [
    "render = scene.render",
    `render.resolution_x, render.resolution_y = ${plan.width}, ${plan.height}`,
    "render.resolution_percentage = 100",
    "render.use_border = True",
    "render.use_crop_to_border = True",
    `render.border_min_x = min(1.0, (${tile.x} + 0.01) / ${plan.width})`,
    `render.border_max_x = min(1.0, (${tile.x + tile.width} + 0.01) / ${plan.width})`,
    `render.border_min_y = min(1.0, (${bottom} + 0.01) / ${plan.height})`,
    `render.border_max_y = min(1.0, (${bottom + tile.height} + 0.01) / ${plan.height})`,
  ];
}

function mergeTile(job, plan, tile, parts) {
  const name = `tile-${tile.x}-${tile.y}`;
  const file = path.join(plan.folder, `${name}.exr`);
  const inputs = parts.map((part) => ({ path: part.file, samples: part.samples }));
  const command = author.Command("merge-exr", { inputs, output: file });
  const task = common.addTask(job, `merge-${name}`, "exr-merge", [command], parts.map((part) => part.task));
  return { tile, task, file };
}

function publish(job, plan, whole, join) {
  const frames = String(plan.frame);
  const files = (src, extension, asFrames) => author.Command("publish-files", {
    src,
    dest: `${plan.output}${extension}`,
    frames,
    asFrames,
    ...(asFrames ? { samples: plan.total } : {}),
  }, 1);
  const published = common.addTask(job, "publish", "storage",
    [files(whole, ".exr", true), files(path.join(plan.folder, "whole.jpg"), ".jpg", false)], [join]);
  if (job.settings.remove_intermediate) {
    const command = author.Command("remove-tree", { path: plan.folder });
    common.addTask(job, "remove-tiles", "storage", [command], [published]);
  }
}
