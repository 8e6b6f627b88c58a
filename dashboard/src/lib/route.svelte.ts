// SPDX-License-Identifier: GPL-3.0-or-later
// Where the page is: /app/jobs/<job>/<task>, /app/workers/<worker> and /app/setup, kept in the
// browser's history.
// The addresses have the form that Flamenco's have, so a bookmark into a farm keeps its meaning.

export type Route =
  | { page: "jobs"; job?: string; task?: string }
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
  if (page === "setup") return { page };
  const route: Route = { page: "jobs" };
  if (page === "jobs" && first !== undefined) {
    route.job = first;
    if (second !== undefined) route.task = second;
  }
  return route;
}

export function formatRoute(route: Route): string {
  const parts =
    route.page === "jobs"
      ? [route.page, route.job, route.task]
      : [route.page, route.page === "workers" ? route.worker : undefined];
  return BASE + parts.filter((part) => part !== undefined).map(encodeURIComponent).join("/");
}

let current = $state.raw<Route>({ page: "jobs" });

export const location = {
  get route(): Route {
    return current;
  },
};

export function go(route: Route): void {
  const path = formatRoute(route);
  if (path !== window.location.pathname) history.pushState(null, "", path);
  current = route;
}

/** Lets an ordinary link change the route without a page load; other clicks stay the browser's. */
export function follow(event: MouseEvent, route: Route): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(route);
}

export function startRouting(): void {
  current = parseRoute(window.location.pathname);
  window.addEventListener("popstate", () => {
    current = parseRoute(window.location.pathname);
  });
}
