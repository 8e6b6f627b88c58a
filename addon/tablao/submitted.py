# SPDX-License-Identifier: GPL-3.0-or-later
"""Which job each file was last submitted as, kept beside Blender's settings.

Not in the file itself: it is saved before it is sent, and would have to be saved once more to know
its job. A damaged list counts as an empty one; what is on the farm is the truth. Asks the farm
nothing.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import bpy

REMEMBERED_MAX = 500
"""Files; the one submitted longest ago is forgotten first."""


@dataclass(frozen=True)
class Submitted:
    """A job as it was submitted from a file."""

    job: str
    name: str
    type: str
    given: dict[str, Any] = field(default_factory=dict)
    """Settings that a script gave; they win over the scene's when the job is regenerated, too."""


_jobs: dict[str, Submitted] = {}


def _key(url: str, file: str) -> str:
    return f"{url} {file}"


def _list_file() -> Path | None:
    """Where the list is kept; None where Blender has no writable place."""
    try:
        folder = bpy.utils.user_resource("CONFIG", path="tablao", create=True)
    except OSError:
        return None
    return Path(folder) / "submitted-jobs.json" if folder else None


def last(url: str, file: str) -> Submitted | None:
    """The job that this file was last submitted as to this farm."""
    return _jobs.get(_key(url, file))


def remember(url: str, file: str, job: Submitted) -> None:
    """Notes a submission, here and for the next session."""
    _recall()  # Another Blender may have written since.
    _jobs.pop(_key(url, file), None)
    _jobs[_key(url, file)] = job
    for oldest in list(_jobs)[:-REMEMBERED_MAX]:
        del _jobs[oldest]
    path = _list_file()
    if path is None:
        return
    beside = path.with_suffix(f".{os.getpid()}.new")
    try:
        document = {key: asdict(job) for key, job in _jobs.items()}
        beside.write_text(json.dumps(document), encoding="utf-8")
        os.replace(beside, path)
    except OSError as cause:
        print(f"tablao: the next session will not know the job of this file: {cause}")


def _recall() -> None:
    path = _list_file()
    if path is None or not path.is_file():
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        found = {key: Submitted(**job) for key, job in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as cause:
        print(f"tablao: ignoring what was remembered of submitted jobs: {cause}")
        return
    _jobs.clear()
    _jobs.update(found)


def register() -> None:
    """Brings back what the last session knew."""
    _recall()


def unregister() -> None:
    """Forgets it; the list on the disk stays."""
    _jobs.clear()
