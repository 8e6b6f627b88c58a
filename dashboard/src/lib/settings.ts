// SPDX-License-Identifier: GPL-3.0-or-later
// Between the settings of a job and the fields of a form: what a field begins with, what of it is
// sent, and at which field something that the Manager said belongs. Pure.
import { plain } from "./format";
import type { Setting } from "./job-types";

/** What stands in the fields: texts, also for numbers, and switches. */
export type Typed = Readonly<Record<string, string | boolean>>;

const NOT_SENT = / ?\(required settings that were not sent: ([^)]*)\)/;
/** Where in a script it happened; of use to its author alone. */
const PLACE = / at (?:[\w.$]+ )?\(?[^\s()]+\.js:\d+(?::\d+)?\)?$/;

export function labelOf(setting: Setting): string {
  const label = typeof setting.label === "string" ? setting.label : "";
  const words = setting.key.replaceAll("_", " ");
  return label === "" ? words.charAt(0).toUpperCase() + words.slice(1) : label;
}

/** Nobody types this one: it has the value that the job type gives it. */
export function isFixed(setting: Setting): boolean {
  return setting.editable === false && setting.eval === undefined;
}

/** A field of its own for it, rather than one among those that Blender usually fills in. */
export function isShown(setting: Setting): boolean {
  return setting.visible !== "hidden";
}

/** What the field begins with: the value of a job, else the default. */
export function begun(setting: Setting, given?: Readonly<Record<string, unknown>>): string | boolean {
  const value = given?.[setting.key] ?? setting.default;
  if (setting.type === "bool") return value === true;
  return value === undefined || value === null ? "" : plain(value);
}

export function allBegun(settings: readonly Setting[], given?: Readonly<Record<string, unknown>>): Typed {
  return Object.fromEntries(settings.map((setting) => [setting.key, begun(setting, given)]));
}

/** The value to send; undefined: nothing was said. What is no number stays a text, for the Manager to refuse. */
export function valueOf(setting: Setting, typed: string | boolean | undefined): unknown {
  if (typed === undefined || typeof typed === "boolean") return typed;
  if (setting.type === "string") return typed === "" && (setting.default ?? "") === "" ? undefined : typed;
  if (typed.trim() === "") return undefined;
  const number = Number(typed);
  return Number.isFinite(number) ? number : typed;
}

/** Settings of a new job. A switch that nobody knows the state of is only sent when it is on, or has a default. */
export function settingsOf(settings: readonly Setting[], typed: Typed): Record<string, unknown> {
  const sent: Record<string, unknown> = {};
  for (const setting of settings) {
    const value = valueOf(setting, typed[setting.key]);
    const silent = value === false && setting.default === undefined && setting.eval !== undefined;
    if (value !== undefined && !silent) sent[setting.key] = value;
  }
  return sent;
}

/** Of a job that has settings, those that were typed anew; `null` takes one away. */
export function changesOf(
  settings: readonly Setting[],
  had: Readonly<Record<string, unknown>>,
  typed: Typed,
): Record<string, unknown> {
  const changes: Record<string, unknown> = {};
  for (const setting of settings) {
    const now = typed[setting.key];
    if (now === undefined || now === begun(setting, had)) continue;
    changes[setting.key] = valueOf(setting, now) ?? (setting.type === "string" ? "" : null);
  }
  return changes;
}

/** Required settings with a field of their own that nothing was typed into. */
export function missing(settings: readonly Setting[], typed: Typed): string[] {
  return settings
    .filter((setting) => setting.required === true && isShown(setting) && !isFixed(setting))
    .filter((setting) => valueOf(setting, typed[setting.key]) === undefined)
    .map((setting) => setting.key);
}

/**
 * Puts what the Manager said to the settings it speaks of: those that it names in quotation marks,
 * those whose value it quotes, and those that it lists as not sent. What belongs nowhere is `rest`.
 */
export function atSettings(
  message: string,
  settings: readonly Setting[],
  sent: Readonly<Record<string, unknown>>,
): { at: Record<string, string>; rest: string } {
  const at: Record<string, string> = {};
  const keys = settings.map((setting) => setting.key);
  const add = (key: string, text: string) => {
    if (keys.includes(key)) at[key] ??= text;
  };
  const quotes = (text: string, word: string) => text.includes(`"${word}"`) || text.includes(`'${word}'`);
  const rest: string[] = [];
  for (const part of message.replace(NOT_SENT, "").split("; ")) {
    const text = part.replace(PLACE, "");
    const named = keys.filter((key) => quotes(text, key));
    const valued = keys.filter((key) => typeof sent[key] === "string" && sent[key] !== "" && quotes(text, sent[key]));
    const found = named.length > 0 ? named : valued.length === 1 ? valued : [];
    for (const key of found) add(key, text);
    if (found.length === 0) rest.push(text);
  }
  for (const key of NOT_SENT.exec(message)?.[1]?.split(", ") ?? []) add(key, "required, and nothing was sent");
  return { at, rest: rest.join("; ") };
}
