# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene remembers about its submissions: name, priority, pause, job type, worker tag.

Job type and tag are stored as texts, which survive a farm that is away or has changed; the panel's
drop-downs read and write those texts. The settings of a job type are in `job_types`.
"""

from __future__ import annotations

from collections.abc import Callable

import bpy

from . import job_types
from .job_types import default_job_name, enum_number, facts
from .tablao_client import BadRequest

EnumItems = list[tuple[str, str, str, int]]

# Blender keeps only the addresses of an enum's texts, so somebody has to keep the texts.
_kept_items: dict[str, EnumItems] = {}


def job_name_of(scene: bpy.types.Scene) -> str:
    """The name the scene's job would get."""
    return scene.tablao_job_name or default_job_name()


def _job_type_items(_scene: object, _context: object) -> EnumItems:
    items: EnumItems = [("-", "Choose a job type", "Nothing is chosen yet", 0)]
    for job_type in facts.job_types.values():
        number = enum_number(job_type.name)
        items.append((job_type.name, job_type.label, job_type.description, number))
    _kept_items["job types"] = items
    return items


def _tag_items(_scene: object, _context: object) -> EnumItems:
    items: EnumItems = [("-", "All workers", "Any worker may take the job", 0)]
    items += [(tag.id, tag.name, tag.description, enum_number(tag.id)) for tag in facts.tags]
    _kept_items["tags"] = items
    return items


def _choice_of(text_property: str, items: Callable[..., EnumItems], name: str) -> object:
    """A drop-down whose truth is a text property: what the farm no longer has shows as none."""

    def get(scene: bpy.types.Scene) -> int:
        number = enum_number(getattr(scene, text_property))
        return number if any(item[3] == number for item in items(None, None)) else 0

    def choose(scene: bpy.types.Scene, number: int) -> None:
        chosen = [item[0] for item in items(None, None) if item[3] == number]
        setattr(scene, text_property, chosen[0] if chosen and number else "")

    return bpy.props.EnumProperty(name=name, items=items, get=get, set=choose, options=set())


def _job_type_changed(scene: bpy.types.Scene, _context: object) -> None:
    """A freshly chosen type starts with what its expressions say."""
    try:
        job_type = job_types.chosen_type(scene)
    except BadRequest:
        return  # A script may name a type before the first refresh; submitting checks it.
    job_types.fill_from_expressions(scene, job_type, job_name_of(scene))


def register() -> None:
    """Adds the properties to every scene."""
    scene = bpy.types.Scene
    scene.tablao_job_name = bpy.props.StringProperty(
        name="Job Name", description="Empty: the name of the file", options=set()
    )
    scene.tablao_job_priority = bpy.props.IntProperty(
        name="Priority",
        description="Jobs with a higher priority go first",
        default=50,
        min=0,
        max=100,
        options=set(),
    )
    scene.tablao_submit_as_paused = bpy.props.BoolProperty(
        name="Submit as Paused",
        description="The job waits until somebody queues it on the farm",
        default=False,
        options=set(),
    )
    scene.tablao_job_type = bpy.props.StringProperty(
        name="Job Type", update=_job_type_changed, options=set()
    )
    scene.tablao_job_type_choice = _choice_of("tablao_job_type", _job_type_items, "Job Type")
    scene.tablao_worker_tag = bpy.props.StringProperty(name="Worker Tag", options=set())
    scene.tablao_worker_tag_choice = _choice_of("tablao_worker_tag", _tag_items, "Worker Tag")


def unregister() -> None:
    """Takes them back; the values stay in the files."""
    scene = bpy.types.Scene
    del scene.tablao_worker_tag_choice
    del scene.tablao_worker_tag
    del scene.tablao_job_type_choice
    del scene.tablao_job_type
    del scene.tablao_submit_as_paused
    del scene.tablao_job_priority
    del scene.tablao_job_name
    _kept_items.clear()
