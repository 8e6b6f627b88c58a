// SPDX-License-Identifier: GPL-3.0-or-later
// What each list can be asked for, as fields for people. The names are those of the API; the words
// of a search field may have any of them, also those that have no field here.
import { FLAWS } from "./flaws";
import { JOB_STATUSES, TASK_STATUSES } from "./status";

export interface Field {
  key: string;
  label: string;
  kind: "text" | "time" | "choice";
  /** Of a choice: value and word. */
  choices?: readonly (readonly [string, string])[];
}

const text = (key: string, label: string): Field => ({ key, label, kind: "text" });
const time = (key: string, label: string): Field => ({ key, label, kind: "time" });
const choice = (key: string, label: string, choices: readonly (readonly [string, string])[]): Field => ({
  key,
  label,
  kind: "choice",
  choices,
});
const asThemselves = (values: readonly string[]) => values.map((value) => [value, value] as const);

const OF_JOBS: readonly Field[] = [
  text("type", "Job type"),
  text("user", "User"),
  text("project", "Project"),
  text("shot", "Shot"),
  text("tag", "Worker tag"),
];

export const JOB_FIELDS: readonly Field[] = [
  choice("status", "Status", asThemselves(JOB_STATUSES)),
  ...OF_JOBS,
  text("worker", "Worker"),
  time("since", "Submitted from"),
  time("until", "Submitted before"),
];

export const TASK_FIELDS: readonly Field[] = [
  choice("status", "Status", asThemselves(TASK_STATUSES)),
  text("type", "Task type"),
  text("worker", "Worker"),
  time("since", "Changed from"),
  time("until", "Changed before"),
  choice("retired", "Which", [["true", "those that a regeneration retired"]]),
];

const FLAG = choice("flag", "What is wrong", [["any", "anything"], ...Object.entries(FLAWS)]);
const OF_FRAMES: readonly Field[] = [
  text("worker", "Worker"),
  time("since", "Rendered from"),
  time("until", "Rendered before"),
];

/** Of the frames of one job. */
export const JOB_FRAME_FIELDS: readonly Field[] = [FLAG, ...OF_FRAMES];

/** Of all frames. */
export const FRAME_FIELDS: readonly Field[] = [FLAG, ...OF_JOBS, ...OF_FRAMES];
