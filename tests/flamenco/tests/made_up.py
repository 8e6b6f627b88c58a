# SPDX-License-Identifier: GPL-3.0-or-later
"""What Schemathesis's made-up requests are filled with, so that more of them get past the first
check: ids that exist, credentials of a worker that is known, jobs that compile. Loaded by
Schemathesis as its hooks; `run` beside it starts both.
"""

from __future__ import annotations

import atexit
import base64
import collections
import hashlib
import json
import os
import random
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import schemathesis

URL = os.environ["TABLAO_URL"]
SECRET = "5e" * 32
CONTENTS = b"made up"
REFRESH_EVERY = 40
"""Requests after which ids are looked up anew: some were deleted meanwhile."""

ids: dict[str, list[str]] = {}
worker = ""
sent = 0
codes: collections.Counter[int] = collections.Counter()
succeeded: set[str] = set()
seen: set[str] = set()


def call(method: str, path: str, body: Any = None, auth: bool = False) -> Any:
    request = urllib.request.Request(f"{URL}/api/v3/{path}", method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if auth:
        request.add_header("Authorization", credentials())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        error.close()
        return None


def credentials() -> str:
    pair = base64.b64encode(f"{worker}:{SECRET}".encode()).decode()
    return f"Basic {pair}"


def job() -> dict[str, Any]:
    settings = {"message": "made up", "sleep_duration_seconds": 0, "sleep_repeats": 2}
    return {
        "name": "made up",
        "type": "echo-sleep-test",
        "submitter_platform": "linux",
        "priority": 50,
        "settings": settings,
    }


def refresh() -> None:
    """A worker that is awake, with a task; a job; a tag; and the ids of all that there is."""
    global worker
    known = [entry["id"] for entry in call("GET", "worker-mgt/workers")["workers"]]
    types = ["misc", "blender", "ffmpeg", "file-management"]
    if worker not in known:
        body = {"name": "w", "secret": SECRET, "platform": "linux", "supported_task_types": types}
        worker = call("POST", "worker/register-worker", body)["uuid"]
        known.append(worker)
    body = {"name": "w", "software_version": "1", "supported_task_types": types}
    wanted = call("POST", "worker/sign-on", body, auth=True) or {}
    status = wanted.get("status_requested", "awake")
    call("POST", "worker/state-changed", {"status": status}, auth=True)
    if status != "awake":
        call("POST", "worker/state-changed", {"status": "awake"}, auth=True)
    jobs = [entry["id"] for entry in call("GET", "jobs")["jobs"]][-5:]
    if len(jobs) < 5:
        jobs.append(call("POST", "jobs", job())["id"])
    tags = [entry["id"] for entry in call("GET", "worker-mgt/tags")["tags"]][-5:]
    if not tags:
        tags.append(call("POST", "worker-mgt/tags", {"name": f"made up {sent}"})["id"])
    tasks = [task["id"] for task in call("GET", f"jobs/{jobs[-1]}/tasks")["tasks"]]
    mine = call("POST", "worker/task", auth=True)
    if mine:
        tasks.append(mine["uuid"])
        log = {"taskStatus": "active", "log": "made up"}
        call("POST", f"worker/task/{mine['uuid']}", log, auth=True)
    ids.update(
        job_id=jobs,
        tag_id=tags,
        task_id=tasks,
        worker_id=[*known[-3:], worker],
        typeName=["echo-sleep-test", "simple-blender-render"],
        checksum=[hashlib.sha256(CONTENTS).hexdigest()],
    )


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    global sent
    if sent % REFRESH_EVERY == 0:
        refresh()
    sent += 1
    operation = case.operation.definition.raw
    if operation.get("security") and random.random() < 0.9:
        case.headers["Authorization"] = credentials()
    parts = case.path_parameters
    for name in list(parts or {}):
        if ids.get(name) and random.random() < 0.7:
            parts[name] = random.choice(ids[name])
            if name == "checksum" and random.random() < 0.5:
                parts["filesize"] = len(CONTENTS)
    if operation["operationId"] == "scheduleTask":
        call("POST", "worker/state-changed", {"status": "awake"}, auth=True)
    if operation["operationId"] == "shamanFileStore" and random.random() < 0.3:
        case.path_parameters = {"checksum": ids["checksum"][0], "filesize": len(CONTENTS)}
        case.body = CONTENTS
    fill = FILLED.get(operation["operationId"])
    if fill and isinstance(case.body, dict) and random.random() < 0.5:
        case.body = fill(case.body)


def with_job(body: dict[str, Any]) -> dict[str, Any]:
    kept = {key: body[key] for key in ("metadata", "name", "initial_status") if key in body}
    return {**job(), **kept}


def with_files(body: dict[str, Any]) -> dict[str, Any]:
    sum_ = hashlib.sha256(CONTENTS).hexdigest()
    return {**body, "files": [{"sha": sum_, "size": len(CONTENTS), "path": "a.blend"}]}


FILLED = {
    "submitJob": with_job,
    "submitJobCheck": with_job,
    "setWorkerTags": lambda body: {"tag_ids": ids["tag_id"]},
    "setJobTag": lambda body: {"id": random.choice(ids["tag_id"])},
    "setWorkerSleepSchedule": lambda body: {
        **body,
        "start_time": "18:30",
        "end_time": "",
        "days_of_week": "mo",
    },
    "shamanCheckoutRequirements": with_files,
    "shamanCheckout": lambda body: {**with_files(body), "checkoutPath": "made/up"},
    "taskUpdate": lambda body: {
        **body,
        "taskStatus": random.choice(["active", "completed", "failed"]),
    },
}
"""Bodies that mean something, by their operation."""


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    operation = case.operation.definition.raw["operationId"]
    codes[response.status_code] += 1
    seen.add(operation)
    if response.status_code < 300:
        succeeded.add(operation)


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_null(one) for one in value.values())
    if isinstance(value, list):
        return any(has_null(one) for one in value)
    return value is None


@schemathesis.check
def no_null(context: Any, response: Any, case: Any) -> None:
    """Flamenco's add-on refuses a null; one inside a job's own settings is its submitter's."""
    kind = response.headers.get("content-type", [""])[0]
    operation = case.operation.definition.raw["operationId"]
    free = operation in ("submitJob", "fetchJob", "fetchJobs", "scheduleTask", "fetchTask")
    if kind.startswith("application/json") and not free:
        assert not has_null(json.loads(response.content)), "there is a null in the answer"


@atexit.register
def say() -> None:
    counts = {
        "codes": {str(code): number for code, number in codes.items()},
        "succeeded": sorted(succeeded),
        "never": sorted(seen - succeeded),
    }
    Path(os.environ["TABLAO_COUNTS"]).write_text(json.dumps(counts))
