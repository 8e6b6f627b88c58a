// SPDX-License-Identifier: GPL-3.0-or-later
// Starts the page: where it is, what time it is, the farm's connection, and the app on top of them.
import { mount } from "svelte";
import App from "./components/App.svelte";
import { startClock } from "./lib/clock.svelte";
import { farm } from "./lib/farm.svelte";
import { startRouting } from "./lib/route.svelte";
import "./theme.css";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no element #app to mount on");

startRouting();
startClock();
farm.start();
mount(App, { target });
