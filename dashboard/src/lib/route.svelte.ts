// SPDX-License-Identifier: GPL-3.0-or-later
// Where the page is: /app/jobs/<job>/<task>, /app/frames, /app/submit, /app/workers/<worker> and
// /app/setup, kept in the browser's history; and behind the question mark what its lists are asked
// for, so that an address shows another person the same.
// The paths have the form that Flamenco's have, so a bookmark into a farm keeps its meaning.
import { outerOnly, queryOf, withQuery, type Query, type Scope } from "./query";

export type Route =
  | { page: "jobs"; job?: string; task?: string }
  | { page: "frames" }
  | { page: "submit"; type?: string }
  | { page: "workers"; worker?: string }
  | { page: "setup" };

const BASE = "/app/";

export function parseRoute(path: string): Route {
  const [page, first, second] = path
    .slice(path.startsWith(BASE) ? BASE.length : 0)
    .split("/")
    .filter((part) => part !== "")
    .map(decodeURIComponent);
  if (page === "workers") return first === undefined ? { page } : { page, worker: first };
  if (page === "submit") return first === undefined ? { page } : { page, type: first };
  if (page === "setup" || page === "frames") return { page };
  const route: Route = { page: "jobs" };
  if (page === "jobs" && first !== undefined) {
    route.job = first;
    if (second !== undefined) route.task = second;
  }
  return route;
}

function parts(route: Route): (string | undefined)[] {
  switch (route.page) {
    case "jobs":
      return [route.page, route.job, route.task];
    case "workers":
      return [route.page, route.worker];
    case "submit":
      return [route.page, route.type];
    default:
      return [route.page];
  }
}

export function formatRoute(route: Route): string {
  const known = parts(route).filter((part) => part !== undefined);
  return BASE + known.map(encodeURIComponent).join("/");
}

/** What stays of the lists' queries on the way: those of lists that are still in view. */
export function keptSearch(from: Route, search: string, to: Route): string {
  if (from.page !== "jobs" || to.page !== "jobs") return "";
  return from.job === to.job ? search : outerOnly(search);
}

let current = $state.raw<Route>({ page: "jobs" });
let asked = $state("");

export const location = {
  get route(): Route {
    return current;
  },
  query(scope: Scope): Query {
    return queryOf(asked, scope);
  },
};

/** The address of another place, with the queries that stay. */
export function addressOf(route: Route): string {
  return formatRoute(route) + keptSearch(current, asked, route);
}

export function go(route: Route, query?: Query): void {
  const search = query === undefined ? keptSearch(current, asked, route) : withQuery("", "", query);
  const address = formatRoute(route) + search;
  if (address !== window.location.pathname + window.location.search) history.pushState(null, "", address);
  current = route;
  asked = search;
}

/** Asks a list in view for something else. The address follows; going back leaves the page, not each letter. */
export function ask(scope: Scope, query: Query): void {
  asked = withQuery(asked, scope, query);
  history.replaceState(null, "", formatRoute(current) + asked);
}

/** Lets an ordinary link change the route without a page load; other clicks stay the browser's. */
export function follow(event: MouseEvent, route: Route, query?: Query): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(route, query);
}

function read(): void {
  current = parseRoute(window.location.pathname);
  asked = window.location.search;
}

export function startRouting(): void {
  read();
  window.addEventListener("popstate", read);
}
