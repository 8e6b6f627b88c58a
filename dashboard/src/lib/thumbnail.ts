// SPDX-License-Identifier: GPL-3.0-or-later
// The address of a frame's thumbnail. A frame rendered anew keeps its file's name, so the address
// carries what identifies its content: the browser may keep it, and never shows the old picture.
import type { Frame } from "./types";

export function thumbnailOf(frame: Pick<Frame, "thumbnail" | "hash" | "rendered_at">): string | undefined {
  if (frame.thumbnail === undefined) return undefined;
  return `${frame.thumbnail}?v=${encodeURIComponent(frame.hash?.slice(0, 12) ?? frame.rendered_at)}`;
}
