// SPDX-License-Identifier: GPL-3.0-or-later
// What a job type script finds around it, for editors and `tsc --checkJs`. Written beside a script
// by `tablao jobtype new`; the same names run in the Manager. docs/writing-job-types.md shows how.

/** One setting that a job of this type has. */
interface JobTypeSetting {
  /** Name in submissions and in `job.settings`. */
  key: string;
  type: "string" | "int32" | "float" | "bool";
  /** What kind of path a text holds. */
  subtype?: "file_path" | "dir_path" | "file_name" | "hashed_file_path";
  /** Values to choose from; for texts only. */
  choices?: readonly string[];
  /** Arguments of the Blender property, such as `{ min: 1 }`. */
  propargs?: Readonly<Record<string, unknown>>;
  /** Tooltip. */
  description?: unknown;
  /** Label for people; made of the key when absent. */
  label?: unknown;
  /** What forms start with, and the command line fills in. */
  default?: unknown;
  /** Python expression that Blender evaluates for the value. */
  eval?: string;
  evalInfo?: { showLinkButton?: boolean; description?: string };
  /** Where it is shown. */
  visible?: "visible" | "submission" | "web" | "hidden";
  required?: boolean;
  /** `false`: shown, but not to be edited. */
  editable?: boolean;
}

/** What `JOB_TYPE` declares. */
interface JobType {
  label: string;
  description?: string;
  settings: readonly JobTypeSetting[];
}

/** One thing a Worker does. Made by `author.Command()`. */
interface Command {
  name: string;
  parameters: Record<string, any>;
  totalStepCount: number;
}

/** Commands that one Worker runs in order. Made by `author.Task()`. */
interface Task {
  readonly uUID: string;
  name: string;
  /** Workers are matched by it, such as `blender`, `ffmpeg`, `file-management`, `misc`. */
  type: string;
  /** 50 unless you say otherwise; higher runs first within the job. */
  priority: number;
  readonly commands: Command[];
  readonly dependencies: Task[];
  /** Takes a copy of the command. */
  addCommand(command: Command): void;
  /** The other task has to be completed first. It may be added to the job later. */
  addDependency(task: Task): void;
}

/** A moment, as `job.created`. */
interface JobTime {
  year(): number;
  month(): number;
  day(): number;
  hour(): number;
  minute(): number;
  second(): number;
  weekday(): number;
  yearDay(): number;
  unix(): number;
  unixMilli(): number;
  valueOf(): number;
  toString(): string;
  toJSON(): string;
}

/** The job that is compiled. Changes of its name, priority, settings and metadata count. */
interface Job {
  readonly jobID: string;
  name: string;
  readonly jobType: string;
  priority: number;
  readonly status: string;
  readonly created: JobTime;
  /** As submitted; a setting that was not sent is `undefined`. */
  settings: Record<string, any>;
  metadata: Record<string, string>;
  storage: { shamanCheckoutID: string };
  workerTagUUID: string;
  /** Takes a copy of the task: change it before. */
  addTask(task: Task): void;
  /** The tasks that were added so far. */
  readonly tasks: readonly Task[];
}

/** Makes tasks and commands. */
declare const author: {
  Task(name: string, type: string): Task;
  /** `totalStepCount` only for commands that report steps of their own, such as rendered frames. */
  Command(name: string, parameters?: Record<string, any>, totalStepCount?: number): Command;
};

/** Paths with either kind of slash, as texts. Touches no file. */
declare const path: {
  basename(path: string): string;
  dirname(path: string): string;
  join(...elements: unknown[]): string;
  /** The last part without its extension. */
  stem(path: string): string;
};

/** Where the Manager runs. */
declare const process: {
  cwd(): string;
  readonly platform: "linux" | "windows" | "darwin" | string;
};

/** Goes to the Manager's log. */
declare function print(...values: unknown[]): void;
/** Goes to the Manager's log as a warning. */
declare function alert(...values: unknown[]): void;
/** Cuts frames such as `1-10,20` into ranges of at most `chunkSize` frames. */
declare function frameChunker(frames: string, chunkSize: number): string[];
/** How many frames such a text names. */
declare function frameCount(frames: string): number;
/** Cuts a command line into words, as a shell would. */
declare function shellSplit(line: string): string[];
/** The moment in the Manager's time zone, as it may stand in a file name. Now, if none is given. */
declare function formatTimestampLocal(time?: Date | JobTime | string | number): string;
/** A helper of your own in a subfolder, a JSON file, or `author`, `path` and `process`. */
declare function require(name: string): any;
