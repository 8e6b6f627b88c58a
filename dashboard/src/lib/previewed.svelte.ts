// SPDX-License-Identifier: GPL-3.0-or-later
// What a change would do, asked of the Manager anew with every choice that a person makes. Of answers
// that overtake each other only the one to the last choice counts.
import { Refusal } from "./api";

const AFTER_MS = 200;

export class Previewed<T> {
  told = $state.raw<T | undefined>(undefined);
  problem = $state("");
  busy = $state(false);

  #asked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Asks soon; `told` is empty until the answer is there, so that nothing old is confirmed. */
  ask(read: () => Promise<T>): void {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    this.told = undefined;
    this.busy = true;
    this.#timer = setTimeout(() => void this.#read(asked, read), AFTER_MS);
  }

  async #read(asked: number, read: () => Promise<T>): Promise<void> {
    let told: T | undefined;
    let problem = "";
    try {
      told = await read();
    } catch (cause) {
      problem = cause instanceof Refusal ? cause.message : String(cause);
    }
    if (asked !== this.#asked) return;
    this.told = told;
    this.problem = problem;
    this.busy = false;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#asked += 1;
  }
}
