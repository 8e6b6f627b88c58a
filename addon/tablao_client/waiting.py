# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a job, and saying why one did not complete.

Waiting outlives a farm that is away for a while: a Manager that is killed and started again goes
on with its jobs, so we go on too. Only asks, never changes anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import FarmFault, FarmUnreachable, TablaoError, WaitEnded
from .models import Job

if TYPE_CHECKING:
    from .client import Client

POLL_S_MIN = 0.5
POLL_S_MAX = 3.0
"""Short jobs are noticed at once; a long one costs the farm a request every three seconds."""

LOG_LINES_MAX = 5


def wait_for_job(
    client: Client,
    job_id: str,
    *,
    on_change: Callable[[Job], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    timeout_s: float | None = None,
    outage_s: float = 300.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Job:
    """Waits until the job has ended and returns it as it ended, whichever way.

    Raises `WaitEnded` after `timeout_s` or when `should_stop` says so, and `FarmUnreachable` when
    the farm has been away for longer than `outage_s`.
    """
    started = clock()
    heard = started
    seen: tuple[str, int, int, str] | None = None
    poll_s = POLL_S_MIN
    while True:
        try:
            job = client.job(job_id)
        except (FarmUnreachable, FarmFault):
            if clock() - heard > outage_s:
                raise
        else:
            heard = clock()
            now = (job.status, job.steps_completed, job.steps_total, job.activity)
            if on_change is not None and now != seen:
                on_change(job)
            seen = now
            if job.has_ended:
                return job
        if should_stop():
            raise WaitEnded(f"stopped waiting for job {job_id}", hint="The job itself goes on")
        if timeout_s is not None and clock() - started > timeout_s:
            raise WaitEnded(
                f"job {job_id} has not ended within {timeout_s:g} s",
                hint="The job goes on; look at its tasks and at the workers",
            )
        sleep(poll_s)
        poll_s = min(poll_s * 1.2, POLL_S_MAX)


def why_not_completed(client: Client, job: Job) -> str:
    """One paragraph for a person on why this ended job did not complete."""
    text = f"job {job.name!r} ({job.id}) is {job.status}"
    if job.activity:
        text += f": {job.activity}"
    try:
        failed = [task for task in client.tasks(job.id) if task.status == "failed"]
        if not failed:
            return text
        first = client.task(failed[0].id)
        text += f"; {len(failed)} failed task(s), the first is {first.name!r}"
        if first.activity:
            text += f": {first.activity}"
        log_lines = client.task_log_tail(first.id).strip().splitlines()[-LOG_LINES_MAX:]
        if log_lines:
            text += "\n  " + "\n  ".join(log_lines)
    except TablaoError as cause:
        # The reason is a service on top: the state of the job was already heard.
        text += f" (its tasks could not be asked for: {cause})"
    return text
