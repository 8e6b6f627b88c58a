// SPDX-License-Identifier: GPL-3.0-or-later
// Starts, kills and ends the real processes of a farm, and speaks to it as any client would.
// It ends only what it started.
import { execFile, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const READY_WITHIN_MS = 60_000;
const END_WITHIN_MS = 20_000;

export async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

export class Process {
  /** Its output is appended to `<out>/<name>.log`. */
  constructor(binary, args, out, name) {
    this.name = name;
    this.log = join(out, `${name}.log`);
    const log = openSync(this.log, "a");
    this.child = spawn(binary, args, { stdio: ["ignore", log, log] });
    this.ended = new Promise((done) => {
      this.child.on("exit", (code, signal) => done({ code, signal }));
      this.child.on("error", (cause) => done({ code: null, signal: null, cause }));
    });
    void this.ended.then((how) => (this.end = how));
  }

  async kill(signal) {
    if (this.end === undefined) this.child.kill(signal);
    return this.ended;
  }

  /** Asks it to end, and ends it if it does not. */
  async stop() {
    if (this.end !== undefined) return;
    this.child.kill("SIGTERM");
    const late = Symbol("late");
    const how = await Promise.race([this.ended, pause(END_WITHIN_MS, late, { ref: false })]);
    if (how === late) await this.kill("SIGKILL");
  }
}

export class Farm {
  constructor(port) {
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Waits until the Manager says that it is ready; fails at once when its process has ended. */
  async ready(process) {
    const until = Date.now() + READY_WITHIN_MS;
    for (;;) {
      if (process.end !== undefined) {
        throw new Error(`${process.name} ended (${JSON.stringify(process.end)}), see ${process.log}`);
      }
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
      if (Date.now() > until) throw new Error(`${process.name} is not ready after ${READY_WITHIN_MS / 1000} s, see ${process.log}`);
      await pause(100);
    }
  }

  async submit(job) {
    const answer = await fetch(`${this.url}/api/v3/jobs`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ priority: 50, metadata: {}, submitter_platform: "manager", ...job }),
    });
    if (!answer.ok) throw new Error(`submission refused: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).id;
  }
}

/** Whether the program is there and runs. */
export async function runs(program, ...args) {
  return promisify(execFile)(program, args).then(
    () => true,
    () => false,
  );
}

/** Frames of the demo's scene, and frames in each task of the demo's job. */
export const FRAMES = 24;
const CHUNK_SIZE = 3;
/** Tasks of the demo's job: one for each chunk, and the video. */
export const TASKS = FRAMES / CHUNK_SIZE + 1;

/** Makes the scene that `tablao demo` renders. */
export async function makeScene(file) {
  const script = fileURLToPath(new URL("../../../demo/make_scene.py", import.meta.url));
  await promisify(execFile)("blender", ["-b", "--factory-startup", "--python-exit-code", "3", "--python", script, "--", file]);
}

/** The demo's job. */
export function renderJob(name, blendfile, outputFolder) {
  return {
    name,
    type: "simple-blender-render",
    metadata: { project: "Browser test" },
    settings: {
      frames: `1-${FRAMES}`,
      chunk_size: CHUNK_SIZE,
      render_output_root: outputFolder,
      add_path_components: 0,
      render_output_path: join(outputFolder, name, "######"),
      blendfile,
      fps: 24,
      format: "PNG",
      image_file_extension: ".png",
      has_previews: false,
      scene: "tablao",
    },
  };
}
