# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the open file into a job: refresh, save, settle the settings, check, submit.

The file is sent in place, by its absolute path, so the workers must see the same path; copying it
with its assets to the shared storage is not there yet. Following the job is `watch`'s duty.
"""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from . import job_types, submitted
from .evaluate import refuse_missing
from .job_types import facts
from .scene_properties import job_name_of
from .submitted import Submitted
from .tablao_client import BadRequest, Client, Job, JobType, job_request


def refresh(client: Client) -> None:
    """Asks the farm what it is and what it can do, and makes its job types known to Blender."""
    version = client.version()
    storage = client.shared_storage()
    offered = client.job_types()
    tags = client.tags()
    facts.url = client.url
    facts.version = f"{version.name} {version.version}"
    facts.storage = storage
    facts.tags = tags
    job_types.use_job_types(offered)
    job_types.remember()


@dataclass
class Submission:
    """What a submission is made of, beyond what the scene remembers."""

    scene: bpy.types.Scene
    job_name: str = ""
    job_type: str = ""
    given: dict[str, Any] | None = None
    save: bool = True

    def submit(self, client: Client) -> tuple[Job, list[str]]:
        """Submits the open file. Returns the job and what the person should know about it."""
        if not bpy.data.filepath:
            raise BadRequest("the file has never been saved", hint="Save it, then submit")
        refresh(client)
        job_type = job_types.chosen_type(self.scene, self.job_type)
        warnings: list[str] = []
        if self.scene.tablao_worker_tag:
            self._refuse_lost_tag()
        # Settled before the file is saved: a refused setting leaves the file on disk alone.
        request = self._request(job_type)
        client.check_job(request)
        if self.save:
            save_in_place()
        blend_file = open_file()
        if _takes_blend_file(job_type):
            warnings += _visibility_warnings(Path(blend_file))
        job = client.submit_job(request)
        given = self.given or {}
        submitted.remember(client.url, blend_file, Submitted(job.id, job.name, job.type, given))
        return job, warnings

    def _request(self, job_type: JobType) -> dict[str, Any]:
        name = self.job_name or job_name_of(self.scene)
        values = settings_now(self.scene, job_type, name, self.given or {})
        return job_request(
            job_type,
            name,
            values,
            priority=self.scene.tablao_job_priority,
            paused=self.scene.tablao_submit_as_paused,
            metadata={"user.name": _user_name(), "blender.version": bpy.app.version_string},
            worker_tag=self.scene.tablao_worker_tag,
        )

    def _refuse_lost_tag(self) -> None:
        """A job bound to a tag that is gone would wait for ever."""
        if self.scene.tablao_worker_tag not in {tag.id for tag in facts.tags}:
            raise BadRequest(
                "the farm no longer has the chosen worker tag", hint="Choose another one"
            )


def settings_now(
    scene: bpy.types.Scene, job_type: JobType, job_name: str, given: dict[str, Any]
) -> dict[str, Any]:
    """Every setting as it is to be sent for the open file; `given` wins over the scene's values."""
    given = dict(given)
    if _takes_blend_file(job_type):
        given.setdefault("blendfile", open_file())
    group = job_types.group_of(scene, job_type)
    values = job_types.settled(group, job_type, job_name, given).all()
    refuse_missing(job_type, values)
    return values


def open_file() -> str:
    """The open file's path, as workers are told it."""
    return os.path.abspath(bpy.data.filepath)


def _takes_blend_file(job_type: JobType) -> bool:
    return any(s.key == "blendfile" and s.type == "string" for s in job_type.settings)


def save_in_place() -> None:
    """Saves, so that the workers open what is open here.

    Without a window Blender does not notice what a script changes, so there the file is saved
    whether it says to be dirty or not.
    """
    if not (bpy.data.is_dirty or bpy.app.background):
        return
    try:
        bpy.ops.wm.save_mainfile()
    except RuntimeError as cause:
        raise BadRequest(
            f"the file cannot be saved ({str(cause).strip()})",
            hint="Make it writable, or save it elsewhere and submit that one",
        ) from cause


def _visibility_warnings(blend_file: Path) -> list[str]:
    """Says when the workers may not find the file. On a farm of one machine they always do."""
    if facts.storage is None or not facts.storage.location:
        return []
    if blend_file.is_relative_to(os.path.abspath(facts.storage.location)):
        return []
    return [
        f"{blend_file} is outside the farm's shared storage {facts.storage.location}: "
        "it is sent in place and not copied, so the workers must see it at the same path"
    ]


def _user_name() -> str:
    """Who submits, as far as the system knows; some containers have users without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"
