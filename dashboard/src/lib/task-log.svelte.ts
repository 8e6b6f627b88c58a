// SPDX-License-Identifier: GPL-3.0-or-later
// Follows the log of the task that is open: asks once per second for what was added, as long as the
// task is active, and keeps the newest part of it. Logs are not events, so they are polled.
import { api, Refusal } from "./api";

const POLL_MS = 1_000;
/** Of a log that is already long, only the end is read. */
const TAIL_BYTES = 256 * 1024;
/** What the page keeps. More would make scrolling slow, and the whole log can be opened on its own. */
const KEPT_CHARACTERS_MAX = 512 * 1024;

export class TaskLog {
  text = $state("");
  /** Whether the beginning is left out. */
  cut = $state(false);

  #offset = 0;
  #decoder = new TextDecoder();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #cancel = new AbortController();

  constructor(
    readonly task: string,
    private active: boolean,
  ) {
    void this.#poll();
  }

  /** The task's last lines may follow its end, so one more read comes after it ended. */
  setActive(active: boolean): void {
    if (active === this.active) return;
    this.active = active;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#poll(), active ? 0 : POLL_MS);
  }

  close(): void {
    this.#cancel.abort();
    clearTimeout(this.#timer);
  }

  async #poll(): Promise<void> {
    let more = false;
    try {
      more = await this.#read();
    } catch (cause) {
      if (this.#cancel.signal.aborted) return;
      // 404: no log yet. Anything else passes, or the connection state tells of it.
      if (!(cause instanceof Refusal)) throw cause;
      more = cause.status === 0 || cause.status >= 500;
    }
    if (this.#cancel.signal.aborted) return;
    clearTimeout(this.#timer);
    if (this.active || more) this.#timer = setTimeout(() => void this.#poll(), POLL_MS);
  }

  /** Reads what there is; true when more was there than one answer holds. */
  async #read(): Promise<boolean> {
    let part = await api.taskLog(this.task, this.#offset, this.#cancel.signal);
    if (part.size < this.#offset) {
      // Shorter than what was read: it is another log now (the task was started anew).
      this.#restart(0);
      part = await api.taskLog(this.task, 0, this.#cancel.signal);
    }
    if (this.#offset === 0 && part.size > part.bytes.length + TAIL_BYTES) {
      this.#restart(part.size - TAIL_BYTES);
      this.cut = true;
      part = await api.taskLog(this.task, this.#offset, this.#cancel.signal);
    }
    this.#offset += part.bytes.length;
    let text = this.text + this.#decoder.decode(part.bytes, { stream: true });
    if (text.length > KEPT_CHARACTERS_MAX) {
      text = text.slice(text.indexOf("\n", text.length - KEPT_CHARACTERS_MAX) + 1);
      this.cut = true;
    }
    if (text !== this.text) this.text = text;
    return this.#offset < part.size;
  }

  #restart(offset: number): void {
    this.#offset = offset;
    this.#decoder = new TextDecoder();
    this.text = "";
  }
}
