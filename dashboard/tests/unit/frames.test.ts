// SPDX-License-Identifier: GPL-3.0-or-later
import { describe, expect, it } from "vitest";
import { flawsOf } from "../../src/lib/flaws";
import { Player } from "../../src/lib/flipbook";
import type { Frame } from "../../src/lib/types";

describe("a flip-book", () => {
  it("keeps to its rate whatever the screen's is, and begins again after the end", () => {
    // Protects motion: an animator judges timing by it.
    const player = new Player(4, 25, 1);
    expect([0, 39, 41, 79, 81, 121, 161].map((ms) => player.at(1000 + ms))).toEqual([1, 1, 2, 2, 3, 0, 1]);
  });
});

describe("flaws of a frame", () => {
  it("are told from what says how a frame came", () => {
    // Protects good frames from a red border.
    const flags = (flags: string[]) => flawsOf({ flags } as Frame);
    expect(flags(["unfenced", "found", "wanted", "a later one"])).toEqual([]);
    expect(flags(["found", "black", "changed"])).toEqual(["black", "changed"]);
  });
});
