// SPDX-License-Identifier: GPL-3.0-or-later
// The HTTP calls of the dashboard: reads from /api/farm/v1, changes through /api/v3.
// It holds no state and decides nothing; a refusal becomes a `Refusal` that can be shown as it is.
import type { Query } from "./query";
import type {
  Attempt,
  Flipbook,
  Frame,
  Job,
  JobStatus,
  Page,
  Task,
  TaskStatus,
  Verification,
  Worker,
  WorkerStatus,
} from "./types";

const FARM = "/api/farm/v1";
const V3 = "/api/v3";
const REASON = "asked for in the dashboard";

/** The largest page the Manager gives. */
export const PAGE_LIMIT = 1000;

/** An answer that is not a success. `status` 0 means that there was no answer at all. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint?: string,
  ) {
    super(message);
    this.name = "Refusal";
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  const body = (await response.json().catch(() => undefined)) as Record<string, unknown> | undefined;
  // problem+json on our own API, {code, message} on Flamenco's.
  const text = [body?.["detail"], body?.["message"], body?.["title"]].find(
    (part): part is string => typeof part === "string" && part !== "",
  );
  const hint = typeof body?.["hint"] === "string" ? body["hint"] : undefined;
  return new Refusal(response.status, text ?? `the Manager answered ${response.status}`, hint);
}

export async function call(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new Refusal(0, "the Manager cannot be reached");
  }
  if (!response.ok) throw await refusalOf(response);
  return response;
}

export async function json<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  return json<T>(await call(path, { headers: { Accept: "application/json" }, signal: signal ?? null }));
}

function post(path: string, body: unknown): Promise<Response> {
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function send(path: string, body: unknown): Promise<void> {
  await post(path, body);
}

export async function ask<T>(path: string, body: unknown): Promise<T> {
  return json<T>(await post(path, body));
}

export function query(parts: Record<string, string | number | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(parts)) {
    if (value !== undefined) search.set(key, String(value));
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

/** Reads a list page by page; each page is handed out as it comes, so a long list fills in. */
export async function* pages<T>(path: string, signal?: AbortSignal): AsyncGenerator<T[]> {
  let cursor: string | undefined;
  do {
    const joint = path.includes("?") ? "&" : "?";
    const page: Page<T> = await read<Page<T>>(
      `${path}${joint}${query({ limit: PAGE_LIMIT, cursor }).slice(1)}`,
      signal,
    );
    yield page.items;
    cursor = page.next;
  } while (cursor !== undefined && cursor !== null && cursor !== "");
}

const id = encodeURIComponent;

export const api = {
  eventsPath: `${FARM}/events`,
  openApiPath: `${FARM}/openapi.json`,

  jobs: (signal?: AbortSignal) => pages<Job>(`${FARM}/jobs`, signal),
  findJobs: (asked: Query) => pages<Job>(`${FARM}/jobs${query(asked)}`),
  job: (job: string) => read<Job>(`${FARM}/jobs/${id(job)}`),
  tasks: (job: string, asked: Query, signal?: AbortSignal) =>
    pages<Task>(`${FARM}/jobs/${id(job)}/tasks${query(asked)}`, signal),
  task: (task: string) => read<Task>(`${FARM}/tasks/${id(task)}`),
  attempts: async (task: string) =>
    (await read<Page<Attempt>>(`${FARM}/tasks/${id(task)}/attempts${query({ limit: PAGE_LIMIT })}`)).items,
  /** Newest first. */
  frames: (asked: Query, limit: number, cursor?: string) =>
    read<Page<Frame>>(`${FARM}/frames${query({ order: "newest", ...asked, limit, cursor })}`),
  flipbook: (shot: string) => read<Flipbook>(`${FARM}/shots/${id(shot)}/preview`),
  workers: (signal?: AbortSignal) => pages<Worker>(`${FARM}/workers`, signal),

  /** Bytes of a task's log from `offset` on (at most 1 MiB), and how long the log is in all. */
  taskLog: async (task: string, offset: number, signal?: AbortSignal) => {
    const response = await call(`${FARM}/tasks/${id(task)}/log${query({ offset })}`, { signal: signal ?? null });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const size = Number(response.headers.get("Tablao-Log-Size") ?? offset + bytes.length);
    return { bytes, size };
  },

  taskLogPath: (task: string) => `${FARM}/tasks/${id(task)}/log`,

  version: () => read<{ name: string; version: string }>(`${V3}/version`),
  farmStatus: async () => (await read<{ status: string }>(`${V3}/status`)).status,

  /** Asks whether events can be resumed after `position`; throws the Manager's refusal if not. */
  probeEvents: (position: string) => read<unknown>(`${FARM}/events${query({ after: position, limit: 1 })}`),

  setJobStatus: (job: string, status: JobStatus) =>
    send(`${V3}/jobs/${id(job)}/setstatus`, { status, reason: REASON }),
  setJobPriority: (job: string, priority: number) => send(`${V3}/jobs/${id(job)}/setpriority`, { priority }),
  /** Has the files of a job's frames looked at; answers after some seconds, done or not. */
  verifyFrames: (job: string) => ask<Verification>(`${FARM}/jobs/${id(job)}/verify${query({ wait: 20 })}`, {}),
  /** Has the frames rendered anew that something is wrong with, and what is made of them; gives their numbers. */
  rerenderFrames: async (job: string) =>
    (await ask<{ frames: number[] }>(`${FARM}/jobs/${id(job)}/rerender`, { dependants: true, reason: REASON })).frames,
  setTaskStatus: (task: string, status: TaskStatus) =>
    send(`${V3}/tasks/${id(task)}/setstatus`, { status, reason: REASON }),
  setWorkerStatus: (worker: string, status: WorkerStatus, is_lazy: boolean) =>
    send(`${V3}/worker-mgt/workers/${id(worker)}/setstatus`, { status, is_lazy }),
  quarantineWorker: (worker: string, reason: string) => send(`${FARM}/workers/${id(worker)}/quarantine`, { reason }),
  releaseWorker: (worker: string, reason: string) => send(`${FARM}/workers/${id(worker)}/release`, { reason }),
};
