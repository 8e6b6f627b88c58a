# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows one submitted job beside Blender's main thread, for the panel to draw.

A thread asks the farm and leaves what it heard under a lock; a timer in the main thread redraws the
panel. Nothing in the thread touches bpy, which only the main thread may use.
"""

from __future__ import annotations

import threading

import bpy

from .tablao_client import Client, Job, TablaoError

REDRAW_S = 0.5


class Watch:
    """One job being followed."""

    def __init__(self, client: Client, job: Job) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._job = job
        self._text = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tablao-watch", daemon=True)
        self._thread.start()

    @property
    def job(self) -> Job:
        """The job as last heard."""
        with self._lock:
            return self._job

    @property
    def text(self) -> str:
        """Why it ended or why it is no longer followed; empty as long as all is well."""
        with self._lock:
            return self._text

    @property
    def is_over(self) -> bool:
        """Whether nothing new will be heard."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends the following, not the job."""
        self._stop.set()

    def _note(self, job: Job) -> None:
        with self._lock:
            self._job = job

    def _run(self) -> None:
        try:
            job = self._client.wait_for_job(
                self._job.id,
                on_change=self._note,
                should_stop=self._stop.is_set,
                sleep=lambda seconds: self._stop.wait(seconds),
            )
            text = "" if job.status == "completed" else self._client.why_not_completed(job)
        except TablaoError as cause:
            text = str(cause)
        with self._lock:
            self._text = text


_current: Watch | None = None


def current() -> Watch | None:
    """The watch the panel shows."""
    return _current


def follow(client: Client, job: Job) -> None:
    """Follows this job instead of the one before."""
    global _current
    stop_following()
    _current = Watch(client, job)
    if not bpy.app.timers.is_registered(_redraw):
        bpy.app.timers.register(_redraw, first_interval=REDRAW_S, persistent=True)


def stop_following() -> None:
    """Ends the following of the current job, if any."""
    if _current is not None:
        _current.stop()


def _redraw() -> float | None:
    """A timer: redraws the properties editors until the watch is over."""
    over = _current is None or _current.is_over
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PROPERTIES":
                area.tag_redraw()
    return None if over else REDRAW_S


def register() -> None:
    """Nothing to do before there is a job."""


def unregister() -> None:
    """Leaves no thread and no timer behind."""
    global _current
    stop_following()
    _current = None
    if bpy.app.timers.is_registered(_redraw):
        bpy.app.timers.unregister(_redraw)
