// SPDX-License-Identifier: GPL-3.0-or-later
// Values that a search field can offer, taken from what is on the page anyway. Others can be typed.
import type { Job, Worker } from "./types";

const OFFERED_MAX = 200;

export function known(jobs: readonly Job[], workers: readonly Worker[]): Record<string, readonly string[]> {
  const some = (values: Iterable<string | undefined>) =>
    [...new Set(values)].filter((value): value is string => value !== undefined && value !== "").sort().slice(0, OFFERED_MAX);
  return {
    type: some(jobs.map((job) => job.type)),
    user: some(jobs.map((job) => job.user)),
    project: some(jobs.map((job) => job.project)),
    shot: some(jobs.map((job) => job.metadata["shot"])),
    tag: some(workers.flatMap((worker) => (worker.tags ?? []).map((tag) => tag.name))),
    worker: some(workers.map((worker) => worker.name)),
  };
}
