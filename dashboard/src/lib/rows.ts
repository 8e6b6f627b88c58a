// SPDX-License-Identifier: GPL-3.0-or-later
// Which rows of a long list are in view. Pure arithmetic, shared by the job list and the task grid.

/** Rows above and below the view, so that a quick scroll meets no empty space. */
const MARGIN_ROWS = 4;

export function rowsInView(
  count: number,
  rowHeight: number,
  scrolled: number,
  viewHeight: number,
): { first: number; end: number } {
  const first = Math.max(0, Math.floor(scrolled / rowHeight) - MARGIN_ROWS);
  const end = Math.min(count, Math.ceil((scrolled + viewHeight) / rowHeight) + MARGIN_ROWS);
  return { first: Math.min(first, count), end: Math.max(end, 0) };
}
