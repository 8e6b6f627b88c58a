// SPDX-License-Identifier: GPL-3.0-or-later
// Lets svelte-check and Vite agree on how `<script lang="ts">` is read. Nothing else is configured.
import { vitePreprocess } from "@sveltejs/vite-plugin-svelte";

export default { preprocess: vitePreprocess() };
