// SPDX-License-Identifier: GPL-3.0-or-later
// How the dashboard is built: to `dist/`, to be served below `/app/` by the Manager, which embeds
// it. `npm run dev` serves it with live reload instead and passes everything that is not the
// dashboard on to a farm (the environment variable FARM, by default the one on port 8080).
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { loadEnv } from "vite";
import { defineConfig } from "vitest/config";

const farm = loadEnv("", ".", "FARM")["FARM"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/app/",
  plugins: [svelte()],
  build: {
    outDir: "dist",
    target: "es2022",
    // The binary embeds what is here: no source maps, and one script is enough for an app this size.
    sourcemap: false,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/thumbnails", "/job-files"].map((path) => [path, { target: farm, changeOrigin: true }]),
    ),
  },
  test: {
    include: ["tests/unit/**/*.test.ts"],
    environment: "node",
  },
});
