// SPDX-License-Identifier: GPL-3.0-or-later
// What one event means for a client: which fields are known at once, and what has to be read again.
// Pure: no network, no clock, no store. A patch only makes the page quicker; what an event names is
// always read again, so a kind this page has never heard of still leads to a correct picture.
import { isJobStatus, isTaskStatus, isWorkerStatus } from "./status";
import type { FarmEvent, Job, Task, Worker } from "./types";

/** Above this many tasks, one read of the job's list is cheaper than one read per task. */
export const TASKS_READ_SINGLY_MAX = 16;

export interface Consequence {
  jobPatch?: Partial<Job>;
  /** Applies to each task in `tasks`. */
  taskPatch?: Partial<Task>;
  workerPatch?: Partial<Worker>;
  job?: string;
  /** The tasks this event names; `"all"` where it named none but may have touched any of the job's. */
  tasks: readonly string[] | "all";
  worker?: string;
  staleJob: boolean;
  staleTasks: boolean;
  staleFrames: boolean;
  staleAttempts: boolean;
  staleWorker: boolean;
}

/**
 * Every kind that the stream may name. The browser hands out named events only to those who asked
 * for the name, so this list is what keeps a kind from passing unseen.
 */
export const EVENT_KINDS: readonly string[] = [
  ...["JobAccepted", "TasksAdded", "JobReady", "JobAbandoned", "JobImported", "JobStatusChanged"],
  ...["JobPriorityChanged", "JobTagChanged", "JobRequirementsChanged", "JobHeld", "JobReleased"],
  ...["JobCancelRequested", "JobDeleteMarked", "JobRestored", "JobPurged", "JobRegenerated"],
  ...["TasksPrepared", "OutputsDiscarded", "TasksChanged", "TaskPriorityChanged", "TaskOutgrew", "AttemptAssigned", "AttemptStarted", "StepsAdvanced"],
  ...["AttemptStopRequested", "AttemptEnded", "LateReportNoted", "WorkerBlocked", "WorkerUnblocked"],
  ...["FailuresCleared", "FrameRendered", "FramePublished", "FrameSkipped", "FrameFlagged"],
  ...["FramesWanted", "FramesVerified"],
  ...["ThumbnailStored", "WorkerRegistered", "WorkerSignedOn", "WorkerStatusChanged"],
  ...["WorkerStatusRequested", "WorkerStatusRequestCleared", "WorkerTagsSet", "WorkerMemorySet", "WorkerScheduleSet"],
  ...["WorkerLost", "WorkerQuarantined", "WorkerQuarantineLifted", "WorkerDeleted"],
  ...["TagCreated", "TagChanged", "TagDeleted"],
  ...["ManagerLinked", "ManagerKeyRotated", "ManagerRevoked", "JobPlaced", "RequestAccepted"],
  ...["RequestSettled", "OriginAdvanced", "TermStarted", "LinkedToServer", "JournalOpened"],
  ...["ConfigApplied", "BaselineTaken", "DetailErased", "DecisionUndone"],
];

const FRAME_KINDS: readonly string[] = [
  "FrameRendered",
  "FramePublished",
  "FrameSkipped",
  "FrameFlagged",
  "FramesWanted",
  "ThumbnailStored",
];

/** The new value of a change: events say `to`, or name the field itself. */
function newValue(event: FarmEvent, field: string): unknown {
  return event.data["to"] ?? event.data[field];
}

function namedTasks(event: FarmEvent): readonly string[] | "all" {
  if (event.tasks !== undefined) return event.tasks;
  if (event.task !== undefined) return [event.task];
  return event.kind.startsWith("Tasks") || event.kind === "DecisionUndone" ? "all" : [];
}

export function fold(event: FarmEvent): Consequence {
  const tasks = namedTasks(event);
  const consequence: Consequence = {
    tasks,
    staleJob: event.job !== undefined,
    staleTasks: event.job !== undefined && tasks.length > 0,
    staleFrames: false,
    staleAttempts: event.kind.startsWith("Attempt") || event.kind === "LateReportNoted",
    staleWorker: event.worker !== undefined,
  };
  if (event.job !== undefined) consequence.job = event.job;
  if (event.worker !== undefined) consequence.worker = event.worker;

  switch (event.kind) {
    case "JobStatusChanged": {
      const status = newValue(event, "status");
      if (isJobStatus(status)) consequence.jobPatch = { status };
      break;
    }
    case "JobPriorityChanged": {
      const priority = newValue(event, "priority");
      if (typeof priority === "number") consequence.jobPatch = { priority };
      break;
    }
    case "TasksChanged": {
      const status = newValue(event, "status");
      if (isTaskStatus(status) && tasks !== "all") consequence.taskPatch = { status };
      break;
    }
    case "AttemptAssigned":
    case "AttemptStarted":
      consequence.taskPatch = { status: "active" };
      break;
    case "StepsAdvanced": {
      const steps = newValue(event, "steps_completed");
      if (typeof steps === "number") {
        // The number is the whole fact about the task: it need not be read again.
        consequence.taskPatch = { steps_completed: steps };
        consequence.staleTasks = false;
      }
      consequence.staleWorker = false;
      break;
    }
    case "WorkerStatusChanged": {
      const status = newValue(event, "status");
      if (isWorkerStatus(status)) consequence.workerPatch = { status };
      break;
    }
    case "JobReady":
    case "JobRegenerated":
      consequence.tasks = "all";
      consequence.staleTasks = true;
      break;
    default:
      if (FRAME_KINDS.includes(event.kind)) {
        consequence.staleFrames = true;
        consequence.staleTasks = false;
        consequence.staleWorker = false;
      }
  }
  return consequence;
}
