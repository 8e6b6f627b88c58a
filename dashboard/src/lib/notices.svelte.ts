// SPDX-License-Identifier: GPL-3.0-or-later
// Short messages to the person: what an action led to, or why the Manager refused it.
// They leave by themselves; they are not a history (the Manager keeps that).
import { Refusal } from "./api";

const SHOWN_MS = 7_000;

export interface Notice {
  id: number;
  text: string;
  bad: boolean;
}

let nextId = 1;
let shown = $state.raw<readonly Notice[]>([]);

export const notices = {
  get shown(): readonly Notice[] {
    return shown;
  },
  dismiss(id: number): void {
    shown = shown.filter((notice) => notice.id !== id);
  },
};

export function tell(text: string, bad = false): void {
  const notice = { id: nextId++, text, bad };
  shown = [...shown.slice(-3), notice];
  setTimeout(() => notices.dismiss(notice.id), SHOWN_MS);
}

/**
 * Runs a change, and says what came of it: in its own words where it returns some, in none where these are
 * empty. Never throws: a button has nobody to throw to.
 */
export async function attempt(what: string, change: () => Promise<string | void>): Promise<void> {
  try {
    const words = (await change()) ?? what;
    if (words !== "") tell(words);
  } catch (cause) {
    const reason = cause instanceof Refusal ? [cause.message, cause.hint].filter(Boolean).join(". ") : String(cause);
    tell(`${what}: not done, ${reason}`, true);
  }
}
