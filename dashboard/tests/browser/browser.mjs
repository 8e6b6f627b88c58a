// SPDX-License-Identifier: GPL-3.0-or-later
// How a browser is started for tests and pictures: the machine's own Chromium, without any of the
// calls to the outside that a person's browser makes.
export const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};
