// SPDX-License-Identifier: GPL-3.0-or-later
// The present moment for everything that shows "x ago", moved on once per second for all of them.

let moment = $state(Date.now());

export const clock = {
  get now(): number {
    return moment;
  },
};

export function startClock(): void {
  setInterval(() => {
    if (!document.hidden) moment = Date.now();
  }, 1_000);
}
