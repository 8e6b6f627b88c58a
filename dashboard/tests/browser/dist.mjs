// SPDX-License-Identifier: GPL-3.0-or-later
// For work on the page: answers a browser's requests for it with what was built last in dist/, rather
// than what is inside the binary of the farm. Everything else goes to the farm.
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

export async function fromDist(route) {
  const path = new URL(route.request().url()).pathname.slice("/app/".length);
  const name = extname(path) === "" ? "index.html" : path;
  await route.fulfill({ body: await readFile(join(DIST, name)), contentType: KINDS[extname(name)] });
}
