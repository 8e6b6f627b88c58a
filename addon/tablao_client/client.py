# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of a farm, one method each, over the Flamenco 3 Manager API.

The methods name what they ask for and hand back values of `models`. How a request travels is the
transport's duty; what Blender puts into a job is the add-on's.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from .errors import BadRequest
from .models import Job, JobType, Regeneration, SharedStorage, Tag, Task, Version
from .transport import Transport
from .waiting import wait_for_job, why_not_completed

DEFAULT_URL = "http://127.0.0.1:8080/"
CLIENT_VERSION = "0.1.0"


def this_platform() -> str:
    """The name of this operating system as a farm spells it: linux, windows or darwin."""
    return platform.system().lower()


class Client:
    """A farm at an address.

    Without arguments it takes `TABLAO_URL` and `TABLAO_TOKEN` from the environment, as the
    command line does.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, agent: str = "", **options: Any
    ) -> None:
        user_agent = f"Tablao/{CLIENT_VERSION} ({agent or 'Python client'})"
        self._transport = Transport(
            url or os.environ.get("TABLAO_URL") or DEFAULT_URL,
            token=os.environ.get("TABLAO_TOKEN", "") if token is None else token,
            user_agent=user_agent,
            **options,
        )

    @property
    def url(self) -> str:
        """The address of the farm, with a slash at its end."""
        return self._transport.url

    def version(self) -> Version:
        """What runs at the address."""
        return Version.read(self._transport.ask("GET", "/api/v3/version"))

    def shared_storage(self, platform_name: str | None = None) -> SharedStorage:
        """The shared folder as users on this (or the named) platform see it."""
        name = quote(platform_name or this_platform(), safe="")
        path = f"/api/v3/configuration/shared-storage/users/{name}"
        return SharedStorage.read(self._transport.ask("GET", path))

    def job_types(self) -> list[JobType]:
        """The job types the farm can compile."""
        answer = self._transport.ask("GET", "/api/v3/jobs/types") or {}
        return [JobType.read(document) for document in answer.get("job_types") or ()]

    def job_type(self, name: str) -> JobType:
        """One job type by its name."""
        path = f"/api/v3/jobs/type/{quote(name, safe='')}"
        return JobType.read(self._transport.ask("GET", path))

    def tags(self) -> list[Tag]:
        """The worker tags."""
        answer = self._transport.ask("GET", "/api/v3/worker-mgt/tags") or {}
        return [Tag.read(document) for document in answer.get("tags") or ()]

    def check_job(self, job: dict[str, Any]) -> None:
        """Asks whether the farm would accept this job; it stores nothing."""
        self._transport.ask("POST", "/api/v3/jobs/check", job)

    def submit_job(self, job: dict[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Submits a job. A retry after a lost answer finds the first job, never makes a second.

        A caller that may itself be killed keeps a key (a UUID) of its own and passes it again. A
        Flamenco Manager knows no keys: there, a lost answer can lead to the job twice.
        """
        answer = self._transport.ask("POST", "/api/v3/jobs", job, key=idempotency_key)
        return Job.read(answer)

    def job(self, job_id: str) -> Job:
        """One job as it is now."""
        return Job.read(self._transport.ask("GET", f"/api/v3/jobs/{quote(job_id, safe='')}"))

    def jobs(self) -> list[Job]:
        """Every job of the farm."""
        answer = self._transport.ask("GET", "/api/v3/jobs") or {}
        return [Job.read(document) for document in answer.get("jobs") or ()]

    def tasks(self, job_id: str) -> list[Task]:
        """The tasks of a job, in their order."""
        path = f"/api/v3/jobs/{quote(job_id, safe='')}/tasks"
        answer = self._transport.ask("GET", path) or {}
        return [Task.read(document) for document in answer.get("tasks") or ()]

    def task(self, task_id: str) -> Task:
        """One task with its last activity."""
        return Task.read(self._transport.ask("GET", f"/api/v3/tasks/{quote(task_id, safe='')}"))

    def task_log_tail(self, task_id: str) -> str:
        """The last part of a task's log; empty where there is none."""
        return self._transport.ask_text(f"/api/v3/tasks/{quote(task_id, safe='')}/logtail")

    def set_job_status(self, job_id: str, status: str, reason: str) -> None:
        """Asks for another job status, such as `cancel-requested` or `requeueing`."""
        path = f"/api/v3/jobs/{quote(job_id, safe='')}/setstatus"
        self._transport.ask("POST", path, {"status": status, "reason": reason})

    def set_task_status(self, task_id: str, status: str, reason: str) -> None:
        """Asks for another task status, such as `queued` to run it again."""
        path = f"/api/v3/tasks/{quote(task_id, safe='')}/setstatus"
        self._transport.ask("POST", path, {"status": status, "reason": reason})

    def regenerate_job(
        self,
        job_id: str,
        settings: dict[str, Any] | None = None,
        *,
        everything: bool = False,
        preview: bool = False,
        if_match: str = "",
        reason: str = "",
    ) -> Regeneration:
        """Compiles a job anew with its job type and files as they are now.

        `settings` are those that change; None as a value takes one away. Tasks that come out the
        same keep what they have done. With `preview` nothing is changed; its `etag`, given as
        `if_match`, refuses with `PreviewOvertaken` what the preview did not say. Flamenco's
        Manager cannot do this.
        """
        body = {
            "settings": settings or {},
            "submitter_platform": this_platform(),
            "everything": everything,
            "preview": preview,
            "reason": reason,
        }
        path = f"/api/farm/v1/jobs/{quote(job_id, safe='')}/regenerate"
        answer, etag = self._transport.ask_tagged("POST", path, body, if_match=if_match)
        return Regeneration.read(answer, etag)

    def wait_for_job(
        self, job_id: str, *, on_change: Callable[[Job], None] | None = None, **options: Any
    ) -> Job:
        """Waits until the job has ended; see `waiting.wait_for_job` for the options."""
        return wait_for_job(self, job_id, on_change=on_change, **options)

    def why_not_completed(self, job: Job) -> str:
        """A text for a person on why an ended job did not complete."""
        return why_not_completed(self, job)


def job_request(
    job_type: JobType,
    name: str,
    settings: dict[str, Any],
    *,
    priority: int = 50,
    paused: bool = False,
    metadata: dict[str, str] | None = None,
    worker_tag: str = "",
) -> dict[str, Any]:
    """The body of a submission. It carries the etag, so a changed job type is refused."""
    if not name.strip():
        raise BadRequest("the job has no name", hint="Give it one")
    body: dict[str, Any] = {
        "name": name,
        "type": job_type.name,
        "priority": priority,
        "settings": settings,
        "metadata": metadata or {},
        "submitter_platform": this_platform(),
        "initial_status": "paused" if paused else "queued",
    }
    if job_type.etag:
        body["type_etag"] = job_type.etag
    if worker_tag:
        body["worker_tag"] = worker_tag
    return body
