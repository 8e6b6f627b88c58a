// SPDX-License-Identifier: GPL-3.0-or-later
// A render whose outputs a start-up program rewrites. Uses what the compositor type of the field
// uses: variables of the studio's own inside commands, with and without Shaman.

const JOB_TYPE = {
  label: "Passes",
  description: "Render passes into folders of their own",
  settings: [
    { key: "frames", type: "string", required: true },
    { key: "blendfile", type: "string", required: true, visible: "web" },
    { key: "start_up", type: "string", required: true, default: "{storagePath}/tools/passes.py" },
  ],
};

function compileJob(job) {
  const settings = job.settings;
  const isShaman = job.storage.shamanCheckoutID !== "";
  const root = isShaman ? "{jobs}" : "{storagePath}";
  const output = path.join(root, "{jobSubPath}", path.stem(settings.blendfile), "{renderSubPath}");
  for (const chunk of frameChunker(settings.frames, 1)) {
    const task = author.Task(`passes-${chunk}`, "blender");
    task.addCommand(author.Command("blender-render", {
      exe: "{blender}",
      exeArgs: "{blenderArgs}",
      argsBefore: ["--python", settings.start_up],
      blendfile: settings.blendfile,
      args: ["--render-frame", chunk, "--", "--output", output, "--device", "{deviceType}"],
    }));
    job.addTask(task);
  }
}
