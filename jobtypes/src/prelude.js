// SPDX-License-Identifier: GPL-3.0-or-later
// The script-facing side of the environment. Runs in every virtual machine before any job type
// script and gets the native functions as `host`. Everything that decides something is in Rust;
// this file only gives it the shapes that scripts written for Flamenco expect.
(function (host) {
  "use strict";

  const text = (value) => (value === undefined || value === null ? "" : String(value));

  // What a command was made with: text until somebody looks at it. Most commands are made and
  // added without that, and so cost no second copy of their parameters.
  class Parameters {
    constructor(json) {
      this.json = json;
      this.value = undefined;
    }

    open() {
      if (this.json !== undefined) {
        this.value = host.parseText(this.json);
        this.json = undefined;
      }
      return this.value;
    }
  }

  class Command {
    #parameters;

    constructor(name, parameters, totalStepCount) {
      this.name = name;
      this.#parameters = parameters;
      this.totalStepCount = totalStepCount;
    }

    get parameters() { return this.#parameters.open(); }

    set parameters(value) {
      this.#parameters = new Parameters(undefined);
      this.#parameters.value = value;
    }

    toJSON() {
      return { name: this.name, parameters: this.parameters, totalStepCount: this.totalStepCount };
    }

    copy() { return new Command(this.name, this.#parameters, this.totalStepCount); }

    // The text of untouched parameters.
    static textOf(command) { return #parameters in command ? command.#parameters.json : undefined; }
  }

  const textOf = Command.textOf;
  const copyOf = Command.prototype.copy;

  class Task {
    constructor(name, type) {
      this.uUID = host.newUUID();
      this.name = name;
      this.type = type;
      this.priority = 50;
      this.commands = [];
      this.dependencies = [];
    }

    addCommand(command) {
      if (!(command instanceof Command)) {
        throw new TypeError("addCommand() needs a command made by author.Command()");
      }
      this.commands.push(copyOf.call(command));
    }

    addDependency(task) {
      if (!(task instanceof Task)) {
        throw new TypeError("addDependency() needs a task made by author.Task()");
      }
      this.dependencies.push(task);
    }
  }

  const author = {
    Task: function (name, type) {
      const trimmedName = text(name).trim();
      const trimmedType = text(type).trim();
      if (trimmedName === "" || trimmedType === "") {
        throw new TypeError("author.Task(name, type) needs both a name and a type");
      }
      return new Task(trimmedName, trimmedType);
    },
    Command: function (name, parameters, totalStepCount) {
      const trimmedName = text(name).trim();
      if (trimmedName === "") {
        throw new TypeError("author.Command(name, parameters) needs a name");
      }
      const copied = new Parameters(host.parametersText(parameters));
      // Most counts are small whole numbers already, and calling out costs more than asking.
      const isCount = typeof totalStepCount === "number" && (totalStepCount | 0) === totalStepCount;
      return new Command(trimmedName, copied, isCount ? totalStepCount : host.integer(totalStepCount));
    },
  };

  const path = {
    basename: host.basename,
    dirname: host.dirname,
    join: host.join,
    stem: host.stem,
  };

  const process = {
    cwd: host.cwd,
    get platform() {
      return host.platform;
    },
  };

  // Stands in for the time values of the environment that scripts were written for.
  class Time {
    #milliseconds;
    #parts;

    constructor(milliseconds) {
      this.#milliseconds = milliseconds;
      this.#parts = host.calendar(milliseconds);
    }

    year() { return this.#parts.year; }
    month() { return this.#parts.month; }
    day() { return this.#parts.day; }
    hour() { return this.#parts.hour; }
    minute() { return this.#parts.minute; }
    second() { return this.#parts.second; }
    weekday() { return this.#parts.weekday; }
    yearDay() { return this.#parts.yearDay; }
    unix() { return Math.floor(this.#milliseconds / 1000); }
    unixMilli() { return this.#milliseconds; }
    valueOf() { return this.#milliseconds; }
    toString() { return this.#parts.text; }
    toJSON() { return this.#parts.text; }
  }

  function formatTimestampLocal(time) {
    if (time === undefined || time === null) {
      return host.formatTimestamp(undefined);
    }
    const milliseconds = typeof time === "string" ? Date.parse(time) : Number(time);
    return host.formatTimestamp(milliseconds);
  }

  const native = new Map(Object.entries({ author, path, process }));
  const loaded = new Map();

  function makeRequire(folder) {
    return function require(request) {
      const name = text(request);
      if (native.has(name)) {
        return native.get(name);
      }
      const found = host.resolve(folder, name);
      const known = loaded.get(found.path);
      if (known !== undefined) {
        return known.exports;
      }
      const module = { id: found.path, exports: {} };
      // Registered before it runs, so that modules may require each other.
      loaded.set(found.path, module);
      try {
        if (found.path.endsWith(".json")) {
          module.exports = host.parseModule(found.path);
        } else {
          const body = host.loadModule(found.path);
          body.call(module.exports, module.exports, makeRequire(found.folder), module);
        }
      } catch (problem) {
        loaded.delete(found.path);
        throw problem;
      }
      return module.exports;
    };
  }

  class Job {
    #seen = [];

    constructor(fields) {
      Object.assign(this, fields);
      this.created = new Time(fields.created);
    }

    addTask(task) {
      if (!(task instanceof Task)) {
        throw new TypeError("addTask() needs a task made by author.Task()");
      }
      host.addTask(task, textOf);
    }

    get tasks() {
      while (this.#seen.length < host.taskCount()) {
        this.#seen.push(host.taskAt(this.#seen.length));
      }
      return this.#seen;
    }
  }

  const globals = {
    author,
    path,
    process,
    formatTimestampLocal,
    print: (...values) => host.log(false, values.map(text).join(" ")),
    alert: (...values) => host.log(true, values.map(text).join(" ")),
    frameChunker: host.frameChunker,
    frameCount: host.frameCount,
    shellSplit: host.shellSplit,
    require: makeRequire(""),
  };
  for (const [name, value] of Object.entries(globals)) {
    // Not enumerable, but replaceable: scripts may have variables of these names.
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }

  const settingKeys = [
    "key", "type", "subtype", "choices", "propargs", "description", "label", "default", "eval",
    "evalInfo", "visible", "required", "editable",
  ];

  const picked = (from, keys) => {
    if (typeof from !== "object" || from === null) {
      return from;
    }
    return Object.fromEntries(keys.filter((key) => key in from).map((key) => [key, from[key]]));
  };

  // What a declaration says, without keys that nobody knows.
  function declaration(jobType) {
    const known = picked(jobType, ["label", "description", "settings"]);
    if (known && Array.isArray(known.settings)) {
      known.settings = Array.from(known.settings, (setting) => picked(setting, settingKeys));
    }
    return known;
  }

  return { declaration, makeJob: (fields) => new Job(fields) };
});
