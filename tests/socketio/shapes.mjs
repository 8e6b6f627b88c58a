// SPDX-License-Identifier: GPL-3.0-or-later
// The shapes of the payloads, from the documented facts: each field, its kind, and whether it may be
// left out. A field that is not named here, and a null, are faults.

const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;
const oneOf = (words) => (value) => words.split(" ").includes(value);

const uuid = (value) => typeof value === "string" && UUID.test(value);
const time = (value) => typeof value === "string" && TIME.test(value);
const text = (value) => typeof value === "string";
const whole = Number.isInteger;
const truth = (value) => typeof value === "boolean";
const yes = (value) => value === true;
const job = oneOf("active canceled completed failed paused pause-requested queued cancel-requested requeueing under-construction");
const task = oneOf("active canceled completed failed queued soft-failed paused");
const worker = oneOf("starting awake asleep error testing offline restart");
const object = (shape) => (value) => faults(shape, value).length === 0;
const perhaps = (check) => Object.assign((value) => check(value), { optional: true });
const list = (check) => (value) => Array.isArray(value) && value.every(check);

const SHAPES = {
  "/lifecycle": { type: oneOf("manager-startup manager-shutdown") },
  "/status": { status: oneOf("active idle waiting asleep inoperative unknown starting") },
  "/jobs": {
    id: uuid, name: perhaps(text), updated: time, status: job, previous_status: perhaps(job), type: text,
    priority: whole, refresh_tasks: truth, steps_completed: whole, steps_total: whole,
    delete_requested_at: perhaps(time),
  },
  "/task": {
    id: uuid, job_id: uuid, name: text, updated: time, status: task, previous_status: perhaps(task),
    activity: text, steps_completed: whole, steps_total: whole,
    worker: perhaps(object({ name: text, uuid })),
  },
  "/tasklog": { task_id: uuid, log: text },
  "/last-rendered": { job_id: uuid, thumbnail: object({ base: text, suffixes: list(text) }) },
  "/workers": {
    id: uuid, name: text, updated: time, last_seen: perhaps(time), status: worker, previous_status: perhaps(worker),
    status_change: perhaps(object({ status: worker, is_lazy: truth })), version: text, deleted_at: perhaps(time),
    can_restart: truth,
  },
  "/workertags": { tag: object({ id: uuid, name: text, description: perhaps(text) }), was_deleted: perhaps(yes) },
};

/** What is wrong with a value of a shape. */
function faults(shape, value) {
  if (typeof value !== "object" || value === null) return ["not an object"];
  const wrong = Object.keys(value).filter((key) => !(key in shape)).map((key) => `${key}: unknown`);
  for (const [key, check] of Object.entries(shape)) {
    if (!(key in value)) {
      if (!check.optional) wrong.push(`${key}: missing`);
    } else if (!check(value[key])) {
      wrong.push(`${key}: ${JSON.stringify(value[key])}`);
    }
  }
  return wrong;
}

/** Throws where a payload of a Socket.IO event is not as documented. */
export function mustFit(event, payload) {
  // Of a job that is gone only the id says anything; what must be there is empty.
  const gone = event === "/jobs" && payload.was_deleted === true;
  const shape = gone ? { ...SHAPES["/jobs"], status: (value) => value === "", was_deleted: yes } : SHAPES[event];
  const wrong = faults(shape, payload);
  if (wrong.length > 0) throw new Error(`${event} ${JSON.stringify(payload)}: ${wrong.join("; ")}`);
}

/** The Socket.IO event of an MQTT topic behind its prefix. */
export function eventOf(topic) {
  if (topic.endsWith("/last-rendered")) return "/last-rendered";
  return /^\/jobs\/./.test(topic) ? "/task" : topic;
}
