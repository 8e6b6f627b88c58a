// SPDX-License-Identifier: GPL-3.0-or-later
// Any program, once for each chunk of frames: renderers other than Blender, converters, scripts.
//
// The arguments are split into words first and filled in afterwards, and no shell runs: whatever a
// frame range or a file is called, it stays one word.

const common = require("./tablao/common");

const JOB_TYPE = {
  label: "Command",
  description: "Run any program once per chunk of frames, such as another renderer",
  settings: [
    {
      key: "program",
      type: "string",
      required: true,
      description: "The program as workers find it: a name on their search path, a path, or a variable such as {blender}",
    },
    {
      key: "arguments",
      type: "string",
      default: "",
      description:
        "Its arguments, quoted as in a shell. {frames} is the chunk as 1-3,7; {first} and {last} its first and last frame; " +
        "{frame} the frame of a chunk of one; {frame:4} the same with leading zeros; {file} the setting 'file'",
    },
    {
      key: "file",
      type: "string",
      subtype: "file_path",
      default: "",
      description: "A file for {file}, such as the scene",
    },
    { ...common.settings.frames, required: false },
    { ...common.settings.chunk_size, visible: "visible", description: "For how many frames the program runs at once" },
    {
      key: "task_type",
      type: "string",
      default: "misc",
      visible: "submission",
      description: "The task type that workers must have",
    },
  ],
};

function compileJob(job) {
  const settings = job.settings;
  const program = common.required(job, "program");
  const words = shellSplit(settings.arguments ?? "");
  const type = settings.task_type || "misc";
  const addRun = (name, values) => {
    const args = words.map((word) => filledIn(word, values));
    common.addTask(job, name, type, [author.Command("exec", { exe: program, args })]);
  };
  const file = settings.file ?? "";
  if (!settings.frames) {
    addRun(path.stem(program), { file });
    return;
  }
  const chunkSize = common.wholeNumber(job, "chunk_size", 1);
  for (const chunk of frameChunker(settings.frames, chunkSize)) {
    const numbers = common.frameNumbers(chunk);
    addRun(`${path.stem(program)}-${chunk}`, {
      file,
      frames: chunk,
      first: numbers[0],
      last: numbers[numbers.length - 1],
      ...(numbers.length === 1 ? { frame: numbers[0] } : {}),
    });
  }
}

// Fills in one word. Names in braces that nobody knows here are the farm's variables and stay.
function filledIn(word, values) {
  return word.replace(/\{(file|frames|first|last|frame)(?::(\d{1,2}))?\}/g, (found, name, width) => {
    if (!(name in values)) {
      throw `the arguments have ${found}, but ${name === "frame" ? "tasks have more than one frame" : "the job has no frames"}`;
    }
    return String(values[name]).padStart(Number(width ?? 0), "0");
  });
}
