// SPDX-License-Identifier: GPL-3.0-or-later
// A real mosquitto on this machine, and a real subscriber that writes down what it hears.
import { spawn } from "node:child_process";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

export const USER = "farm";
export const PASSWORD = "sword fish";

/** Debian keeps the broker where only root looks for programs. */
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;
const env = { ...process.env, PATH };

/** Writes the broker's files. It remembers sessions, so that a subscriber misses nothing while it is away. */
export function configure(folder, port, webSocketPort) {
  const passwords = join(folder, "passwords");
  writeFileSync(passwords, "", { mode: 0o600 });
  execFileSync("mosquitto_passwd", ["-b", passwords, USER, PASSWORD], { env });
  const file = join(folder, "mosquitto.conf");
  const who = typeof process.getuid === "function" && process.getuid() === 0 ? "user root\n" : "";
  writeFileSync(
    file,
    `${who}listener ${port} 127.0.0.1\nlistener ${webSocketPort} 127.0.0.1\nprotocol websockets\n` +
      `password_file ${passwords}\npersistence true\npersistence_location ${folder}/\nmax_queued_messages 0\n`,
  );
  return file;
}

/** Waits until somebody listens. */
export async function listens(port) {
  for (;;) {
    const there = await new Promise((done) => {
      const socket = createConnection(port, "127.0.0.1");
      socket.once("connect", () => done(true)).once("error", () => done(false));
      socket.once("connect", () => socket.destroy());
    });
    if (there) return;
    await pause(50);
  }
}

/** `mosquitto_sub` on everything; `heard` grows. */
export class Subscriber {
  constructor(port) {
    this.heard = [];
    const args = ["-V", "5", "-h", "127.0.0.1", "-p", String(port), "-u", USER, "-P", PASSWORD];
    const session = ["-c", "-i", "watcher", "-x", "3600", "-q", "1"];
    this.child = spawn("mosquitto_sub", [...args, ...session, "-t", "#", "-F", "%q %r %t %p"], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.ended = new Promise((done) => this.child.on("exit", done));
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const [, quality, retained, topic, payload] = /^(\d) (\d) (\S+) (.*)$/.exec(line);
      this.heard.push({ quality, retained, topic, payload: JSON.parse(payload) });
    });
  }

  async stop() {
    this.child.kill("SIGTERM");
    await this.ended;
  }
}
