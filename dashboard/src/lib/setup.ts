// SPDX-License-Identifier: GPL-3.0-or-later
// The set-up of a farm: what the Manager says of folders and of Blender, and saving a choice. The
// Manager checks everything; nothing is decided here.
import { call } from "./api";

const CONFIGURATION = "/api/v3/configuration";

export interface Configuration {
  storageLocation: string;
  shamanEnabled: boolean;
  isFirstRun: boolean;
  /** What is wrong with the configuration file, when the last good one is in use instead. */
  problem?: string;
}

export interface PathCheck {
  path: string;
  is_usable: boolean;
  cause: string;
}

export interface BlenderCheck extends PathCheck {
  input: string;
  source: string;
}

/** Blender is whatever each Worker has. */
export const LEFT_TO_WORKERS: BlenderCheck = {
  input: "",
  path: "",
  source: "default",
  is_usable: true,
  cause: "each Worker uses the blender it has",
};

async function json<T>(path: string, body?: unknown): Promise<T> {
  const init =
    body === undefined
      ? {}
      : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await (await call(CONFIGURATION + path, init)).json()) as T;
}

export const setup = {
  configuration: () => json<Configuration>(""),
  /** The shared storage as it was written, which is not where jobs' files lie. */
  storage: async () => (await json<{ shared_storage_path?: string }>("/file")).shared_storage_path ?? "",
  checkStorage: (path: string) => json<PathCheck>("/check/shared-storage", { path }),
  findBlender: () => json<BlenderCheck[]>("/check/blender"),
  checkBlender: (path: string) => json<BlenderCheck>("/check/blender", { path }),
  save: async (storageLocation: string, blenderExecutable: BlenderCheck): Promise<void> => {
    await call(`${CONFIGURATION}/setup-assistant`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ storageLocation, blenderExecutable }),
    });
  },
};
