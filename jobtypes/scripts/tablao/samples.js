// SPDX-License-Identifier: GPL-3.0-or-later
// Splits the samples of a Cycles render into ranges, and says how Blender is told to render one.
// A helper module, no job type.
"use strict";

// Halves go to the even neighbour: JavaScript's own rounding would make other first ranges.
function roundHalfEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) {
    return Math.round(value);
  }
  return floor % 2 === 0 ? floor : floor + 1;
}

// Ranges [first, last] of samples, counted from 1, that hold each of `total` samples once.
//
// The first `curvePoints` follow a curve from one fortieth of the samples to all of them, so that
// a first picture is there soon; as soon as a range would have more than `cap` samples, the rest is
// cut into equal ranges. Everything is decided in whole numbers once the curve is left.
function sampleRanges(total, cap, curvePoints = 4) {
  const ranges = [];
  const start = total / 40;
  let last = 0;
  for (let point = 0; last < total; point++) {
    const curve = start + (total - start) * Math.pow(point / (curvePoints - 1), 5 / 3);
    const next = Math.min(total, Math.max(1, roundHalfEven(curve)));
    if (next - last > cap) {
      break;
    }
    if (next > last) {
      ranges.push([last + 1, next]);
      last = next;
    }
  }
  const rest = total - last;
  const count = Math.ceil(rest / cap);
  for (let part = 1; part <= count; part++) {
    const next = total - rest + Math.floor((rest * part) / count);
    ranges.push([last + 1, next]);
    last = next;
  }
  return ranges;
}

// `count` ranges of equal size, as far as that goes.
function equalRanges(total, count) {
  const ranges = [];
  for (let part = 0; part < Math.min(count, total); part++) {
    const parts = Math.min(count, total);
    ranges.push([Math.floor((total * part) / parts) + 1, Math.floor((total * (part + 1)) / parts)]);
  }
  return ranges;
}

// How many frames a task renders with so many samples each, if it may render `samplesPerTask`
// in all. One less where that spreads the frames of the last task better.
function framesPerTask(samplesPerTask, frameTotal, samples) {
  const frames = Math.max(1, Math.floor(samplesPerTask / samples));
  const rest = frameTotal % frames;
  if (frames > 2 && rest > 0 && rest < frameTotal % (frames - 1)) {
    return frames - 1;
  }
  return frames;
}

// Python that makes Blender render just this range, exactly: what decides by itself how many
// samples there are, or changes pictures in a way that cannot be averaged, is switched off.
function pythonForRange(total, [first, last], format) {
  const mediaType = format === "OPEN_EXR_MULTILAYER" ? "MULTI_LAYER_IMAGE" : "IMAGE";
  return [
    "if scene.render.engine != 'CYCLES':",
    "    raise RuntimeError('samples can only be split in Cycles; this scene uses ' + scene.render.engine)",
    "cycles = scene.cycles",
    "cycles.use_adaptive_sampling = False",
    "cycles.use_denoising = False",
    "cycles.time_limit = 0",
    "scene.render.use_compositing = False",
    "scene.render.use_sequencer = False",
    "for layer in scene.view_layers:",
    "    layer.samples = 0",
    `if hasattr(cycles, 'use_sample_subset'):`,
    `    cycles.samples = ${total}`,
    "    cycles.use_sample_subset = True",
    `    cycles.sample_offset = ${first - 1}`,
    `    cycles.sample_subset_length = ${last - first + 1}`,
    "elif hasattr(cycles, 'sample_offset'):",
    `    cycles.samples = ${last - first + 1}`,
    `    cycles.sample_offset = ${first - 1}`,
    "else:",
    "    raise RuntimeError('this Blender cannot render a range of samples; use 3.1 or newer')",
    "image = scene.render.image_settings",
    "if hasattr(image, 'media_type'):",
    `    image.media_type = '${mediaType}'`,
    `image.file_format = '${format}'`,
    "image.color_depth = '32'",
    "image.exr_codec = 'ZIP'",
    "if hasattr(image, 'use_preview'):",
    "    image.use_preview = False",
  ];
}

module.exports = { roundHalfEven, sampleRanges, equalRanges, framesPerTask, pythonForRange };
