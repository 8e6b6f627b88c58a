// SPDX-License-Identifier: GPL-3.0-or-later
// The shapes of the farm's read API (`/api/farm/v1`) as far as the dashboard uses them.
// Every object is open: the Manager may send more than is named here, and absent means absent.

export type JobStatus =
  | "active"
  | "canceled"
  | "completed"
  | "failed"
  | "paused"
  | "pause-requested"
  | "queued"
  | "cancel-requested"
  | "requeueing"
  | "under-construction";

export type TaskStatus = "active" | "canceled" | "completed" | "failed" | "queued" | "soft-failed" | "paused";

export type WorkerStatus = "starting" | "awake" | "asleep" | "error" | "testing" | "offline" | "restart";

export interface Named {
  id: string;
  name: string;
}

export interface Job {
  id: string;
  name: string;
  type: string;
  status: JobStatus;
  priority: number;
  activity: string;
  created: string;
  updated: string;
  tag?: string;
  project?: string;
  user?: string;
  shot?: string;
  generation?: number;
  settings: Record<string, unknown>;
  metadata: Record<string, string>;
  steps_completed: number;
  steps_total: number;
  task_counts?: Partial<Record<TaskStatus, number>>;
  thumbnail?: string;
  delete_requested_at?: string;
}

export interface Task {
  id: string;
  job: string;
  number: number;
  index: number;
  name: string;
  type: string;
  status: TaskStatus;
  priority: number;
  steps_completed: number;
  steps_total: number;
  frames?: string;
  worker?: Named;
  attempt?: string;
  activity: string;
  /** It went when its job was regenerated. */
  retired?: boolean;
  created: string;
  updated: string;
  failed_by?: Named[];
  commands?: unknown[];
}

export interface Attempt {
  id: string;
  task: string;
  job: string;
  worker: Named;
  state: "assigned" | "running" | "stopping" | "ended";
  outcome?: string;
  failure?: { class: string; exit?: number; signal?: number };
  reason?: string;
  assigned: string;
  started?: string;
  ended?: string;
  peak_memory_bytes?: number;
  software?: string;
}

export interface Frame {
  id: string;
  job: string;
  task: string;
  worker?: Named;
  shot: string;
  number: number;
  name: string;
  path: string;
  size?: number;
  hash?: string;
  rendered_at: string;
  render_ms: number;
  thumbnail?: string;
  flags?: string[];
}

/** A shot to be played: thumbnails in the order of their numbers. */
export interface Flipbook {
  shot: string;
  name: string;
  frame_rate: number;
  video: string;
  frames: { number: number; name: string; thumbnail?: string; hash: string; rendered_at: string; flags: string[] }[];
}

/** What a look at the files of frames came to. */
export interface Verification {
  state: "running" | "done";
  looked_at: number;
  of: number;
  unseen: number;
  flawed: number;
}

export interface Worker {
  id: string;
  name: string;
  status: WorkerStatus;
  status_change?: { status: WorkerStatus; is_lazy: boolean };
  /** It gets no work, whatever its status. */
  quarantined?: boolean;
  quarantine?: { cause: string; reason: string; since: string };
  platform: string;
  task_types: string[];
  tags?: Named[];
  address: string;
  software: string;
  last_seen?: string;
  task?: { id: string; name: string; job: string; status: TaskStatus };
}

/** One page of a list. `next` is there as long as more follows. */
export interface Page<T> {
  items: T[];
  next?: string;
  position?: string;
}

/** A durable fact, as the event stream tells it. `data` holds the facts of its kind. */
export interface FarmEvent {
  position: string;
  time: string;
  kind: string;
  job?: string;
  task?: string;
  /** Absent when a change touches so many tasks that reading them again is cheaper. */
  tasks?: string[];
  worker?: string;
  actor?: { kind: string; id?: string; name?: string; via?: string };
  data: Record<string, unknown>;
}
