# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm's job types as Blender properties, and the file that remembers them between sessions.

Each job type gets a property group of its own on the scene, so switching between types, or scenes
of one file that use different ones, loses nothing. What a value means for a submission is
`evaluate`'s duty; asking the farm is the operators'.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import bpy

from .evaluate import EMPTY_VALUES, SettledSettings, coerced
from .tablao_client import BadRequest, JobType, NotAFarm, Setting, SharedStorage, TablaoError, Tag

PREFERRED_TYPE = "simple-blender-render"
"""What is taken where nobody has chosen: rendering the open file is what the add-on is for."""

IDENTIFIER_LENGTH_MAX = 63
"""Blender cuts longer property names."""

_LINK_PREFIX = "autoeval_"
_PROPERTY_MAKERS = {
    "string": bpy.props.StringProperty,
    "int32": bpy.props.IntProperty,
    "float": bpy.props.FloatProperty,
    "bool": bpy.props.BoolProperty,
}


class FarmFacts:
    """What the farm last said about itself. One per Blender, held by this module."""

    def __init__(self) -> None:
        self.url = ""
        self.version = ""
        self.storage: SharedStorage | None = None
        self.tags: list[Tag] = []
        self.job_types: dict[str, JobType] = {}
        self.problem = ""


facts = FarmFacts()
_groups: dict[str, tuple[JobType, type[bpy.types.PropertyGroup]]] = {}


def group_name(job_type_name: str) -> str:
    """The scene property that holds a job type's settings, also for names Blender cannot take."""
    name = "tablao_settings_" + re.sub(r"\W", "_", job_type_name, flags=re.ASCII)
    if len(name) > IDENTIFIER_LENGTH_MAX:
        name = f"{name[:54]}_{zlib.crc32(job_type_name.encode()):08x}"
    return name


def enum_number(text: str) -> int:
    """A number for a choice that does not depend on its place in the list.

    Blender stores a choice as its number; a list that the farm reorders must not change it.
    """
    return zlib.crc32(text.encode()) & 0x3FFF_FFFF


def chosen_type(scene: bpy.types.Scene, name: str = "") -> JobType:
    """The job type by name, else the scene's, else the preferred one."""
    wanted = name or scene.tablao_job_type or PREFERRED_TYPE
    if wanted not in facts.job_types:
        raise BadRequest(
            f"the farm has no job type {wanted!r}",
            hint=f"It has: {', '.join(facts.job_types) or 'none'}. {facts.problem}".strip(),
        )
    return facts.job_types[wanted]


def group_of(scene: bpy.types.Scene, job_type: JobType) -> bpy.types.PropertyGroup:
    """The scene's values for a job type."""
    return getattr(scene, group_name(job_type.name))


def is_linked(group: bpy.types.PropertyGroup, setting: Setting) -> bool:
    """Whether a setting follows its expression rather than what was typed."""
    return setting.link_button and bool(getattr(group, _LINK_PREFIX + setting.key))


def link_property(setting: Setting) -> str:
    """The name of the switch beside a setting with a link button."""
    return _LINK_PREFIX + setting.key


def settled(
    group: bpy.types.PropertyGroup, job_type: JobType, job_name: str, given: dict[str, Any]
) -> SettledSettings:
    """The settings of a submission from this scene's values."""
    return SettledSettings(
        job_type,
        stored=lambda setting: getattr(group, setting.key),
        linked=lambda setting: is_linked(group, setting),
        given=given,
        job_name=job_name,
    )


def use_job_types(job_types: list[JobType]) -> None:
    """Makes exactly these job types known: their property groups and the choice in the panel.

    A type that Blender cannot express is left out and named in `facts.problem`, so that one broken
    script does not take the others away.
    """
    problems = []
    usable: dict[str, JobType] = {}
    for job_type in job_types:
        known = _groups.get(job_type.name)
        if known is None or known[0].raw != job_type.raw:
            _forget_group(job_type.name)
            try:
                _register_group(job_type)
            except TablaoError as cause:
                problems.append(f"job type {job_type.name!r} left out: {cause}")
                continue
        usable[job_type.name] = job_type
    for name in set(_groups) - set(usable):
        _forget_group(name)
    facts.job_types = usable
    facts.problem = "; ".join(problems)


def fill_from_expressions(scene: bpy.types.Scene, job_type: JobType, job_name: str) -> None:
    """Gives visible, still empty settings the value of their expression, as a start to edit."""
    group = group_of(scene, job_type)
    view = settled(group, job_type, job_name, {})
    for setting in job_type.settings:
        stays = not setting.editable or is_linked(group, setting) or getattr(group, setting.key)
        if setting.eval and setting.shown_at_submission and not stays:
            try:
                setattr(group, setting.key, view.evaluated(setting))
            except (BadRequest, TypeError) as cause:
                print(f"tablao: {setting.key} keeps its value: {cause}")


def _register_group(job_type: JobType) -> None:
    annotations: dict[str, Any] = {}
    for setting in job_type.settings:
        too_long = len(_LINK_PREFIX + setting.key) > IDENTIFIER_LENGTH_MAX
        if not setting.key.isidentifier() or setting.key.startswith("_") or too_long:
            raise NotAFarm(f"the setting {setting.key!r} cannot be a property name in Blender")
        annotations[setting.key] = _property_for(job_type, setting)
        if setting.link_button:
            annotations[_LINK_PREFIX + setting.key] = bpy.props.BoolProperty(
                name=f"Automatic: {setting.label}",
                description=setting.link_description or "Follow the scene",
                default=True,
                options=set(),
            )
    name = group_name(job_type.name)
    group = type(
        f"TABLAO_PG_{name.removeprefix('tablao_settings_')}",
        (bpy.types.PropertyGroup,),
        {"__annotations__": annotations},
    )
    try:
        bpy.utils.register_class(group)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise NotAFarm(f"Blender refuses its settings: {cause}") from cause
    setattr(bpy.types.Scene, name, bpy.props.PointerProperty(type=group, options=set()))
    _groups[job_type.name] = (job_type, group)


def _forget_group(job_type_name: str) -> None:
    """Takes a job type's properties away. The values stay in the file and come back with it."""
    known = _groups.pop(job_type_name, None)
    if known is not None:
        delattr(bpy.types.Scene, group_name(job_type_name))
        bpy.utils.unregister_class(known[1])


def _property_for(job_type: JobType, setting: Setting) -> Any:
    """The Blender property for one setting, not animatable: a job has one value of it."""
    arguments: dict[str, Any] = {
        "name": setting.label,
        "description": setting.description,
        "options": set(),
    }
    numeric = setting.type in ("int32", "float")
    for key, value in setting.propargs.items():
        is_limit = numeric and key in ("min", "max", "soft_min", "soft_max")
        arguments[key] = coerced(setting, value) if is_limit else value
    if not setting.editable:
        arguments["get"] = _getter(job_type, setting)
        return _PROPERTY_MAKERS[setting.type](**arguments)
    default = EMPTY_VALUES[setting.type]
    if setting.default is not None:
        default = coerced(setting, setting.default)
    if setting.type == "string" and setting.choices:
        choices = setting.choices
        if default not in choices:
            default = choices[0]
        items = [(choice, choice, "", enum_number(choice)) for choice in choices]
        return bpy.props.EnumProperty(items=items, default=default, **arguments)
    arguments["default"] = default
    if setting.type == "string" and setting.subtype:
        hashed = setting.subtype == "hashed_file_path"
        arguments["subtype"] = "FILE_PATH" if hashed else setting.subtype.upper()
        if "is_path_supports_blend_relative" in bpy.types.Property.bl_rna.properties:
            # Newer Blenders warn about `//` where a property does not say that it takes it.
            arguments["options"] = {"PATH_SUPPORTS_BLEND_RELATIVE"}
    try:
        return _PROPERTY_MAKERS[setting.type](**arguments)
    except TypeError as cause:
        raise NotAFarm(f"the setting {setting.key!r} has unusable propargs: {cause}") from cause


def _getter(job_type: JobType, setting: Setting) -> Any:
    """Computes a read-only setting each time it is drawn; a failing one says so in its field."""

    def get(group: bpy.types.PropertyGroup) -> Any:
        scene = group.id_data
        job_name = scene.tablao_job_name or default_job_name()
        try:
            return settled(group, job_type, job_name, {}).value(setting.key)
        except BadRequest as cause:
            return cause.message if setting.type == "string" else EMPTY_VALUES[setting.type]

    return get


def default_job_name() -> str:
    """A job is named after its file where nobody names it."""
    return Path(bpy.data.filepath).stem or "untitled"


def _cache_file() -> Path | None:
    """Where the farm's facts are kept; None where Blender has no writable place."""
    try:
        folder = bpy.utils.user_resource("CONFIG", path="tablao", create=True)
    except OSError:
        return None
    return Path(folder) / "farm-facts.json" if folder else None


def remember() -> None:
    """Writes the facts down, so that the next session draws the panel without a farm in reach."""
    path = _cache_file()
    if path is None:
        return
    document = {
        "url": facts.url,
        "version": facts.version,
        "storage": facts.storage.location if facts.storage else None,
        "tags": [[tag.id, tag.name, tag.description] for tag in facts.tags],
        "job_types": [job_type.raw for job_type in facts.job_types.values()],
    }
    beside = path.with_suffix(f".{os.getpid()}.new")
    try:
        beside.write_text(json.dumps(document), encoding="utf-8")
        os.replace(beside, path)
    except OSError as cause:
        print(f"tablao: the farm's job types are not remembered: {cause}")


def recall() -> None:
    """Reads what was remembered. A damaged file counts as none: a refresh writes it anew."""
    path = _cache_file()
    if path is None or not path.is_file():
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        job_types = [JobType.read(raw) for raw in document["job_types"]]
        facts.url = str(document["url"])
        facts.version = str(document["version"])
        facts.tags = [Tag(*tag) for tag in document["tags"]]
        if document["storage"] is not None:
            facts.storage = SharedStorage(str(document["storage"]), shaman_enabled=False)
    except (OSError, ValueError, KeyError, TypeError, TablaoError) as cause:
        print(f"tablao: ignoring what was remembered of the farm: {cause}")
        return
    use_job_types(job_types)


def register() -> None:
    """Brings back the job types of the last session."""
    recall()


def unregister() -> None:
    """Takes every job type's properties away."""
    for name in list(_groups):
        _forget_group(name)
    facts.job_types = {}
