// SPDX-License-Identifier: GPL-3.0-or-later
// A job type of your own. `JOB_TYPE` declares the settings that a job has, `compileJob` makes
// tasks of them. It runs once for each job, when it is submitted or regenerated.

/** @type {JobType} */
const JOB_TYPE = {
  label: "NAME",
  description: "Says something for each frame, then sums up",
  settings: [
    { key: "frames", type: "string", required: true, default: "1-3", description: "Frames, such as 1-10,20" },
    { key: "chunk_size", type: "int32", default: 1, propargs: { min: 1 }, description: "Frames of one task" },
    { key: "message", type: "string", default: "hello", description: "What is said" },
  ],
};

/** @param {Job} job */
function compileJob(job) {
  const summary = author.Task("summary", "misc");
  summary.addCommand(author.Command("echo", { message: `${frameCount(job.settings.frames)} frames` }));

  for (const chunk of frameChunker(job.settings.frames, job.settings.chunk_size)) {
    const task = author.Task(`say-${chunk}`, "misc");
    task.addCommand(author.Command("echo", { message: `${job.settings.message} ${chunk}` }));
    job.addTask(task);
    summary.addDependency(task);
  }
  job.addTask(summary);
}
