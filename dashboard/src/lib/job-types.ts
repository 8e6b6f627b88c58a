// SPDX-License-Identifier: GPL-3.0-or-later
// The farm's job types and the submission of a job of any of them. A script decides what settings
// mean; nothing is judged here.
import { call, json, read } from "./api";
import type { Job } from "./types";

const V3 = "/api/v3";
const id = encodeURIComponent;

/** A setting as a job type declares it. */
export interface Setting {
  key: string;
  type: "string" | "int32" | "float" | "bool";
  subtype?: "file_path" | "dir_path" | "file_name" | "hashed_file_path";
  choices?: readonly string[];
  propargs?: Readonly<Record<string, unknown>>;
  description?: unknown;
  label?: unknown;
  default?: unknown;
  /** Python that Blender evaluates; here a person has to say the value. */
  eval?: string;
  evalInfo?: { showLinkButton?: boolean; description?: string };
  visible?: "visible" | "submission" | "web" | "hidden";
  required?: boolean;
  editable?: boolean;
}

export interface JobType {
  name: string;
  label: string;
  description?: string;
  etag: string;
  settings: readonly Setting[];
}

export interface Submission {
  name: string;
  type: string;
  type_etag: string;
  priority: number;
  settings: Record<string, unknown>;
  metadata: Record<string, string>;
  submitter_platform: string;
  initial_status: "queued" | "paused";
  worker_tag?: string;
}

export interface Tag {
  id: string;
  name: string;
  description?: string;
}

/** The operating system that a person's paths are of, as the farm spells it. */
export function platform(): string {
  const named = navigator.platform.toLowerCase();
  return named.startsWith("win") ? "windows" : named.startsWith("mac") ? "darwin" : "linux";
}

/** Names a submission, so that one that is sent twice makes one job. Works on pages without HTTPS. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const all = { "Content-Type": "application/json", ...headers };
  return call(path, { method: "POST", headers: all, body: JSON.stringify(body) });
}

export const jobTypes = {
  all: async () => (await read<{ job_types: JobType[] }>(`${V3}/jobs/types`)).job_types,
  one: (name: string) => read<JobType>(`${V3}/jobs/type/${id(name)}`),
  tags: async () => (await read<{ tags?: Tag[] }>(`${V3}/worker-mgt/tags`)).tags ?? [],
  /** Whether the farm would take the job; it keeps nothing. */
  check: async (job: Submission): Promise<void> => {
    await post(`${V3}/jobs/check`, job);
  },
  submit: async (job: Submission, key: string) =>
    json<Pick<Job, "id" | "name">>(await post(`${V3}/jobs`, job, { "Idempotency-Key": key })),
};
