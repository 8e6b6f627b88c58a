// SPDX-License-Identifier: GPL-3.0-or-later
// Tasks that only sleep, one for each chunk of frames. For trying out a farm.

const common = require("./tablao/common");

const JOB_TYPE = {
  label: "Sleep",
  description: "Sleep for some seconds per chunk of frames, to try out a farm without rendering",
  settings: [
    { ...common.settings.frames, default: "1-10" },
    { ...common.settings.chunk_size, visible: "visible", description: "How many frames one task stands for" },
    {
      key: "time_in_seconds",
      type: "int32",
      default: 5,
      propargs: { min: 0 },
      description: "How long each task sleeps",
    },
  ],
};

function compileJob(job) {
  const duration_in_seconds = common.wholeNumber(job, "time_in_seconds", 5, 0);
  const chunkSize = common.wholeNumber(job, "chunk_size", 1);
  for (const chunk of frameChunker(common.required(job, "frames"), chunkSize)) {
    common.addTask(job, `sleep-${chunk}`, "misc", [
      author.Command("echo", { message: `sleeping for frames ${chunk}` }),
      author.Command("sleep", { duration_in_seconds }),
    ]);
  }
}
