// SPDX-License-Identifier: GPL-3.0-or-later
// Between settings and fields: what fields begin with, what is sent, where a refusal is shown. The
// sentences are those that the Manager really says; the browser test has it say some.
import { describe, expect, it } from "vitest";
import type { Setting } from "../../src/lib/job-types";
import { sorts } from "../../src/lib/regeneration-words";
import { allBegun, atSettings, changesOf, labelOf, missing, settingsOf } from "../../src/lib/settings";

const settings: readonly Setting[] = [
  { key: "frames", type: "string", required: true, eval: "x" },
  { key: "chunk_size", type: "int32", default: 1, propargs: { min: 1 }, visible: "submission" },
  { key: "fps", type: "float", visible: "hidden", eval: "y" },
  { key: "preview_video", type: "bool", default: true },
  { key: "has_previews", type: "bool", visible: "hidden", eval: "z" },
  { key: "note", type: "string", default: "hello" },
  { key: "format", type: "string", required: true, visible: "hidden" },
  { key: "fixed", type: "string", required: true, editable: false },
];

describe("the settings of a new job", () => {
  it("have the declared types, and leave out what nobody said", () => {
    // Protects scripts, which tell a missing setting from an empty one.
    const begun = allBegun(settings);
    expect(settingsOf(settings, begun)).toEqual({ chunk_size: 1, preview_video: true, note: "hello" });
    const typed = { ...begun, frames: "1-4", chunk_size: " 3", fps: "23.976", preview_video: false, note: "" };
    expect(settingsOf(settings, typed)).toEqual({ frames: "1-4", chunk_size: 3, fps: 23.976, preview_video: false, note: "" });
    expect(settingsOf(settings, { ...begun, chunk_size: "many" })["chunk_size"]).toBe("many");
  });

  it("begin with those of another job", () => {
    // Protects a second job like the first from losing a value on the way.
    const given = { frames: "1-9", chunk_size: 4, preview_video: false, has_previews: true };
    expect(settingsOf(settings, allBegun(settings, given))).toEqual({ ...given, note: "hello" });
  });

  it("are missing where a field that people see is required and empty", () => {
    // Protects from a job that a worker would trip over; the others are the script's to miss.
    expect(missing(settings, allBegun(settings))).toEqual(["frames"]);
  });
});

describe("changes of a job's settings", () => {
  it("are only what was typed", () => {
    // Protects the rest of the job: what was not touched stays as it was submitted.
    const had = { frames: "1-4", chunk_size: 2, fps: 24, note: "kept" };
    const begun = allBegun(settings, had);
    expect(changesOf(settings, had, begun)).toEqual({});
    const typed = { ...begun, frames: "1-8", fps: "", note: "", preview_video: false };
    expect(changesOf(settings, had, typed)).toEqual({ frames: "1-8", fps: null, note: "", preview_video: false });
  });
});

describe("what the Manager says of settings", () => {
  const at = (message: string, sent = {}) => atSettings(message, settings, sent);

  it("is shown at each of them", () => {
    // Protects people from looking for the field that a sentence speaks of.
    expect(at(`setting "chunk_size" must be of type int32, got number 1.5; setting "fps" must be of type float, got string "x"`)).toEqual({
      at: {
        chunk_size: 'setting "chunk_size" must be of type int32, got number 1.5',
        fps: 'setting "fps" must be of type float, got string "x"',
      },
      rest: "",
    });
    const thrown = at(
      "setting 'format' is missing or empty at required (tablao/common.js:104:11) (required settings that were not sent: frames, format)",
    );
    expect(thrown.at).toEqual({ format: "setting 'format' is missing or empty", frames: "required, and nothing was sent" });
  });

  it("is shown at the one whose value it quotes", () => {
    // Protects a wrong frame range from being a riddle.
    const said = 'invalid frame range "1-": "1-" is neither a frame number nor a range A-B at compileJob (echo.js:3:5)';
    expect(at(said, { frames: "1-" }).at).toEqual({ frames: said.slice(0, said.indexOf(" at compileJob")) });
    expect(at(said, { frames: "1-", note: "1-" }).rest).not.toBe("");
  });

  it("is never lost where it speaks of none", () => {
    // Protects the sentence itself.
    expect(at("chunk size must be positive, got 0")).toEqual({ at: {}, rest: "chunk size must be positive, got 0" });
  });
});

describe("words", () => {
  it("of a regeneration count every task once where it is kept, and twice where it is replaced", () => {
    // Protects the numbers that a person confirms.
    const none = { count: 0, names: [] };
    const told = {
      preview: true,
      generation: 1,
      kept: 5,
      again: 2,
      changed: { count: 3, names: ["a", "b", "c"] },
      added: { count: 1, names: ["d"] },
      vanished: none,
      stopped: 0,
      inputs: [],
    };
    expect(sorts(told).map((sort) => sort.count)).toEqual([3, 6, 3]);
    expect(sorts(told)[1]?.names).toEqual(["a", "b", "c", "d"]);
    expect(sorts(undefined).map((sort) => sort.count)).toEqual([undefined, undefined, undefined]);
  });

  it("of a setting are its label, else its key", () => {
    // Protects labels that a job type gives.
    expect(labelOf({ key: "chunk_size", type: "int32" })).toBe("Chunk size");
    expect(labelOf({ key: "chunk_size", type: "int32", label: "Frames each" })).toBe("Frames each");
  });
});
