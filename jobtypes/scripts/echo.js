// SPDX-License-Identifier: GPL-3.0-or-later
// The smallest job: each task says something in its log.

const common = require("./tablao/common");

const JOB_TYPE = {
  label: "Echo",
  description: "Write a message into the log of each task",
  settings: [
    { key: "message", type: "string", required: true, description: "What each task says" },
    {
      key: "tasks",
      type: "int32",
      default: 1,
      propargs: { min: 1 },
      description: "How many tasks there are; they can run at the same time",
    },
  ],
};

function compileJob(job) {
  const message = common.required(job, "message");
  const count = common.wholeNumber(job, "tasks", 1);
  for (let number = 1; number <= count; number++) {
    common.addTask(job, count === 1 ? "echo" : `echo-${number}`, "misc", [author.Command("echo", { message })]);
  }
}
