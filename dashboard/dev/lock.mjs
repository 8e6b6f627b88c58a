#!/usr/bin/env node
// SPDX-License-Identifier: GPL-3.0-or-later
// Writes package-lock.json anew from package.json, without the addresses packages came from: whoever
// builds uses their own registry. Versions and checksums stay, so `npm ci` installs the same bytes.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";

const file = new URL("../package-lock.json", import.meta.url);

rmSync(file, { force: true });
execFileSync("npm", ["install", "--package-lock-only", "--omit-lockfile-registry-resolved=false"], { cwd: new URL("..", import.meta.url), stdio: "inherit" });
const lock = JSON.parse(readFileSync(file, "utf8"));
for (const entry of Object.values(lock.packages)) delete entry.resolved;
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
