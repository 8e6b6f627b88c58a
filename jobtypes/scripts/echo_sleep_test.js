// SPDX-License-Identifier: GPL-3.0-or-later
// The smallest useful job type: says something, then sleeps. For trying out a farm without Blender.

const JOB_TYPE = {
  label: "Echo Sleep Test",
  settings: [
    { key: "message", type: "string", required: true },
    { key: "sleep_duration_seconds", type: "int32", default: 1 },
    { key: "sleep_repeats", type: "int32", default: 1 },
  ],
};

function compileJob(job) {
  const { message, sleep_duration_seconds, sleep_repeats } = job.settings;
  if (message === undefined || message === null) {
    throw "setting 'message' is missing: send the text that the echo task should say";
  }

  const echo = author.Task("echo", "misc");
  echo.addCommand(author.Command("echo", { message }));
  job.addTask(echo);

  for (let repeat = 0; repeat < sleep_repeats; repeat++) {
    const sleep = author.Task("sleep", "misc");
    // Nobody fills in defaults on the way here, so a missing duration is one second.
    const duration_in_seconds = sleep_duration_seconds ?? 1;
    sleep.addCommand(author.Command("sleep", { duration_in_seconds }));
    sleep.addDependency(echo);
    job.addTask(sleep);
  }
}
