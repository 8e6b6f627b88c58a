// SPDX-License-Identifier: GPL-3.0-or-later
// What can be wrong with a frame, in words for people. Other flags of a frame say how it came.
import type { Frame } from "./types";

export const FLAWS = {
  missing: "missing",
  empty: "empty",
  truncated: "broken off",
  black: "black",
  changed: "changed",
  wrong_size: "wrong size",
} as const;

export type Flaw = keyof typeof FLAWS;

const isFlaw = (flag: string): flag is Flaw => Object.hasOwn(FLAWS, flag);

export function flawsOf(frame: Frame): Flaw[] {
  return (frame.flags ?? []).filter(isFlaw);
}
