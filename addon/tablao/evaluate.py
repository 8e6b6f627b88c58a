# SPDX-License-Identifier: GPL-3.0-or-later
"""Settles the values of a job's settings: what a script gave, what expressions say, what was typed.

The expressions come with the job type and see the names `bpy`, `C`, `jobname`, `Path`, `abspath`,
`last_n_dir_parts` and `settings`. They are Python from the farm, so a farm is trusted like an
add-on. Nothing here changes the scene; how values are stored in it is `job_types`' duty.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy

from .tablao_client import BadRequest, JobType, Setting

EMPTY_VALUES: dict[str, Any] = {"string": "", "int32": 0, "float": 0.0, "bool": False}
"""What an unknown value is sent as: a job type script never meets a missing key."""


def abspath(path: str | os.PathLike[str]) -> str:
    """The path without Blender's `//` and without `..`; an empty one stays empty."""
    text = os.fspath(path)
    return os.path.normpath(bpy.path.abspath(text)) if text else ""


def last_n_dir_parts(n: int, file_path: str | os.PathLike[str] | None = None) -> Path:
    """The last `n` folders above a file (the open one if none is named), never drive or root."""
    if n <= 0:
        return Path()
    folder = Path(bpy.data.filepath if file_path is None else file_path).parent
    parts = folder.parts[1:] if folder.anchor else folder.parts
    return Path(*parts[-n:])


def coerced(setting: Setting, value: Any) -> Any:
    """The value in the setting's type, or an error that names both. JSON cannot tell 1 from 1.0."""
    if setting.type == "string":
        if isinstance(value, (str, os.PathLike)):
            return os.fspath(value)
    elif setting.type == "bool":
        if isinstance(value, (bool, int)):
            return bool(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if setting.type == "float":
            return float(value)
        if int(value) == value:
            return int(value)
    raise BadRequest(
        f"the setting {setting.key!r} wants {setting.type}, not {value!r}",
        hint="Correct the value, or the expression in the job type",
    )


class SettledSettings:
    """The settings of one submission, each settled when it is first asked for.

    Expressions see this object as `settings`, so one that builds on another setting gets its
    settled value wherever that one stands in the list.
    """

    def __init__(
        self,
        job_type: JobType,
        *,
        stored: Callable[[Setting], Any],
        linked: Callable[[Setting], bool],
        given: Mapping[str, Any],
        job_name: str,
    ) -> None:
        known = {setting.key: setting for setting in job_type.settings}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise BadRequest(
                f"the job type {job_type.name!r} has no setting {', '.join(map(repr, unknown))}",
                hint=f"It has: {', '.join(known) or 'none'}",
            )
        self._settings = known
        self._stored = stored
        self._linked = linked
        self._given = given
        self._job_name = job_name
        self._values: dict[str, Any] = {}
        self._in_progress: list[str] = []

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in self._settings:
            raise AttributeError(f"the job type has no setting {key!r}")
        return self.value(key)

    def value(self, key: str) -> Any:
        """The settled value of one setting."""
        if key not in self._values:
            if key in self._in_progress:
                circle = " > ".join([*self._in_progress, key])
                raise BadRequest(f"settings need each other: {circle}", hint="Correct the job type")
            self._in_progress.append(key)
            try:
                self._values[key] = self._settle(self._settings[key])
            finally:
                self._in_progress.pop()
        return self._values[key]

    def all(self) -> dict[str, Any]:
        """Every declared setting, in declared order."""
        return {key: self.value(key) for key in self._settings}

    def evaluated(self, setting: Setting) -> Any:
        """What the setting's expression says, in the setting's type."""
        names = {
            "bpy": bpy,
            "C": bpy.context,
            "jobname": self._job_name,
            "Path": Path,
            "abspath": abspath,
            "last_n_dir_parts": last_n_dir_parts,
            "settings": self,
        }
        try:
            value = eval(setting.eval, names)  # noqa: S307 - the farm is trusted, see above
        except BadRequest:
            raise
        except Exception as cause:
            raise BadRequest(
                f"the expression of setting {setting.key!r} fails: {type(cause).__name__}: {cause}",
                hint=f"The expression is: {setting.eval}",
            ) from cause
        return coerced(setting, value)

    def _settle(self, setting: Setting) -> Any:
        if setting.key in self._given:
            return coerced(setting, self._given[setting.key])
        automatic = not setting.shown_at_submission or self._linked(setting)
        if setting.eval and (automatic or not setting.editable):
            return self.evaluated(setting)
        if setting.default is not None and (automatic or not setting.editable):
            return coerced(setting, setting.default)
        if not setting.shown_at_submission or not setting.editable:
            return EMPTY_VALUES[setting.type]
        return self._stored(setting)


def refuse_missing(job_type: JobType, values: Mapping[str, Any]) -> None:
    """Refuses a submission whose required texts are empty, before a worker trips over them."""
    missing = [
        s for s in job_type.settings if s.required and s.type == "string" and not values[s.key]
    ]
    if missing:
        raise BadRequest(
            f"the job type {job_type.name!r} needs a value for "
            + ", ".join(f"{setting.label!r} ({setting.key})" for setting in missing),
            hint="Fill it in and submit again",
        )
