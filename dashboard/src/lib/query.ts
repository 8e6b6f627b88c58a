// SPDX-License-Identifier: GPL-3.0-or-later
// What a list is asked for, in three forms: the parameters of the API, the words of a search field,
// and a part of the page's address. Pure. Which parameters there are and what they may be is the
// Manager's to say; nothing is refused here, so that a misspelt one is not taken for a name.

/** Parameters of a list, as the API takes them. */
export type Query = Readonly<Record<string, string>>;

/** Lists on the page that are narrowed; the page's own has no prefix in the address. */
export type Scope = "" | "tasks" | "frames";

const INNER: readonly string[] = ["tasks.", "frames."];
const TIMES: readonly string[] = ["since", "until"];
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

const TOKEN = /(?:[^\s"]+|"[^"]*"?)+/g;
const PAIR = /^(meta\.[^\s:="]+|[a-z_]+)[:=](.*)$/s;

export function isEmpty(query: Query): boolean {
  return Object.keys(query).length === 0;
}

export function sameQuery(one: Query, other: Query): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}

/** The query with one parameter set, or without it where the value is empty. */
export function withParameter(query: Query, key: string, value: string): Query {
  const { [key]: _, ...rest } = query;
  return value === "" ? rest : { ...rest, [key]: value };
}

function utc(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** A time for the API: "2h" (ago), a date or a time of this machine's clock; others as they are. */
export function instant(text: string, now: number): string {
  const ago = /^(\d+)(s|min|h|d|w)$/.exec(text);
  const unit = UNIT_MS[ago?.[2] ?? ""];
  if (ago !== null && unit !== undefined) return utc(now - Number(ago[1]) * unit);
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text);
  if (!day && !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?$/.test(text)) return text;
  const ms = Date.parse(day ? `${text}T00:00` : text);
  return Number.isNaN(ms) ? text : utc(ms);
}

/** A time of the API as a field for local date and time takes it. */
export function localTime(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return "";
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString();
  return local.slice(0, local.slice(17, 19) === "00" ? 16 : 19);
}

/** Reads a search field: `key:value` and `meta.key=value` are parameters, other words a name. */
export function readWords(text: string, now: number): Query {
  const query: Record<string, string> = {};
  const name: string[] = [];
  for (const token of text.match(TOKEN) ?? []) {
    const [, key, value] = PAIR.exec(token) ?? [];
    const plain = (value ?? token).replaceAll('"', "");
    if (key === undefined) name.push(plain);
    else if (plain !== "") query[key] = TIMES.includes(key) ? instant(plain, now) : plain;
  }
  const words = name.filter((word) => word !== "").join(" ");
  return words === "" ? query : { ...query, name: words };
}

/** The words of a search field that read as this query. */
export function wordsOf(query: Query): string {
  const quoted = (value: string) => (/\s/.test(value) ? `"${value}"` : value);
  const asName = (value: string) =>
    value.split(" ").every((word) => word !== "" && !PAIR.test(word)) ? value : `"${value}"`;
  return Object.entries(query)
    .map(([key, value]) => (key === "name" ? asName(value) : `${key}${key.startsWith("meta.") ? "=" : ":"}${quoted(value)}`))
    .join(" ");
}

/** The part of an address's query that is about one list. */
export function queryOf(search: string, scope: Scope): Query {
  const query: Record<string, string> = {};
  for (const [key, value] of new URLSearchParams(search)) {
    const inner = INNER.find((prefix) => key.startsWith(prefix)) ?? "";
    if (value !== "" && inner === (scope === "" ? "" : `${scope}.`)) query[key.slice(inner.length)] = value;
  }
  return query;
}

/** An address's query with what it says about one list exchanged. */
export function withQuery(search: string, scope: Scope, query: Query): string {
  const parts = new URLSearchParams();
  for (const one of ["", "tasks", "frames"] as const) {
    const prefix = one === "" ? "" : `${one}.`;
    for (const [key, value] of Object.entries(one === scope ? query : queryOf(search, one))) parts.set(prefix + key, value);
  }
  const text = parts.toString();
  return text === "" ? "" : `?${text}`;
}

/** Without what is said about lists within a job. */
export function outerOnly(search: string): string {
  return withQuery(withQuery(search, "tasks", {}), "frames", {});
}
