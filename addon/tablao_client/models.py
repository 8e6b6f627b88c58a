# SPDX-License-Identifier: GPL-3.0-or-later
"""What a farm says, as values: version, storage, job types, tags, jobs and tasks.

Reading is tolerant of additions and strict about what we rely on. Each value keeps the JSON it
came from, so that a caller can reach what has no field here. Nothing in here talks to a farm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import NotAFarm

SETTING_TYPES = ("string", "int32", "float", "bool")
JOB_ENDS = ("completed", "failed", "canceled")
"""The states of a job that nothing but a person's request leaves."""


def _take(document: Any, key: str, kind: type | tuple[type, ...], what: str) -> Any:
    """A required member of an answer, or an error that names it."""
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise NotAFarm(
            f"the farm's answer about {what} lacks a usable {key!r}",
            hint="Check that the address is a Tablao or Flamenco 3 farm",
        )
    return value


def _take_list(document: Any, key: str, what: str) -> list[Any]:
    """A list member of an answer; absent and null count as empty, as scripts leave them out."""
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Version:
    """What runs at the address."""

    name: str
    version: str
    short_version: str

    @classmethod
    def read(cls, document: Any) -> Version:
        """Reads the answer of `GET /api/v3/version`."""
        return cls(
            name=_take(document, "name", str, "its version"),
            version=_take(document, "version", str, "its version"),
            short_version=_take(document, "shortversion", str, "its version"),
        )


@dataclass(frozen=True)
class SharedStorage:
    """The folder that submitters and workers share, as seen from this platform."""

    location: str
    shaman_enabled: bool

    @classmethod
    def read(cls, document: Any) -> SharedStorage:
        """Reads the answer of the shared storage request."""
        return cls(
            location=_take(document, "location", str, "shared storage"),
            shaman_enabled=bool(document.get("shamanEnabled", False)),
        )


@dataclass(frozen=True)
class Tag:
    """A group of workers that a job can be bound to."""

    id: str
    name: str
    description: str = ""

    @classmethod
    def read(cls, document: Any) -> Tag:
        """Reads one entry of the tag list."""
        return cls(
            id=_take(document, "id", str, "a worker tag"),
            name=_take(document, "name", str, "a worker tag"),
            description=str(document.get("description") or ""),
        )


@dataclass(frozen=True)
class Setting:
    """One setting that a job type declares. Defaults follow what an absent key means."""

    key: str
    type: str
    label: str
    description: str = ""
    subtype: str = ""
    choices: tuple[str, ...] = ()
    propargs: dict[str, Any] = field(default_factory=dict)
    default: Any = None
    eval: str = ""
    link_button: bool = False
    link_description: str = ""
    visible: str = "visible"
    required: bool = False
    editable: bool = True

    @classmethod
    def read(cls, document: Any) -> Setting:
        """Reads one entry of a job type's settings."""
        key = _take(document, "key", str, "a job setting")
        kind = _take(document, "type", str, f"the setting {key!r}")
        if kind not in SETTING_TYPES:
            raise NotAFarm(
                f"the setting {key!r} has the unknown type {kind!r}",
                hint="The job type is newer than this client; update the client",
            )
        eval_info = document.get("evalInfo") or {}
        return cls(
            key=key,
            type=kind,
            label=str(document.get("label") or key.replace("_", " ").title()),
            description=str(document.get("description") or ""),
            subtype=str(document.get("subtype") or ""),
            choices=tuple(str(choice) for choice in document.get("choices") or ()),
            propargs=dict(document.get("propargs") or {}),
            default=document.get("default"),
            eval=str(document.get("eval") or ""),
            link_button=bool(eval_info.get("showLinkButton", False)),
            link_description=str(eval_info.get("description") or ""),
            visible=str(document.get("visible") or "visible"),
            required=bool(document.get("required", False)),
            editable=bool(document.get("editable", True)),
        )

    @property
    def shown_at_submission(self) -> bool:
        """Whether a person sees this setting before submitting."""
        return self.visible in ("visible", "submission")


@dataclass(frozen=True)
class JobType:
    """A kind of job the farm knows how to compile."""

    name: str
    label: str
    description: str
    etag: str
    settings: tuple[Setting, ...]
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, document: Any) -> JobType:
        """Reads one job type."""
        name = _take(document, "name", str, "a job type")
        settings = _take_list(document, "settings", f"the job type {name!r}")
        return cls(
            name=name,
            label=str(document.get("label") or name),
            description=str(document.get("description") or ""),
            etag=str(document.get("etag") or ""),
            settings=tuple(Setting.read(setting) for setting in settings),
            raw=document,
        )


@dataclass(frozen=True)
class Job:
    """A job as the farm tells it at one moment."""

    id: str
    name: str
    type: str
    status: str
    priority: int
    activity: str
    steps_completed: int
    steps_total: int
    settings: dict[str, Any]
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, document: Any) -> Job:
        """Reads one job."""
        return cls(
            id=_take(document, "id", str, "a job"),
            name=_take(document, "name", str, "a job"),
            type=_take(document, "type", str, "a job"),
            status=_take(document, "status", str, "a job"),
            priority=_take(document, "priority", int, "a job"),
            activity=str(document.get("activity") or ""),
            steps_completed=int(document.get("steps_completed") or 0),
            steps_total=int(document.get("steps_total") or 0),
            settings=dict(document.get("settings") or {}),
            raw=document,
        )

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.status in JOB_ENDS

    @property
    def fraction_done(self) -> float:
        """Progress between 0 and 1. A farm may only count the steps once the job runs."""
        if self.status == "completed":
            return 1.0
        return min(1.0, self.steps_completed / self.steps_total) if self.steps_total else 0.0


@dataclass(frozen=True)
class Task:
    """A task of a job. `activity` is empty in lists, which do not carry it."""

    id: str
    name: str
    status: str
    task_type: str
    activity: str
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, document: Any) -> Task:
        """Reads one task, from a list or by itself."""
        return cls(
            id=_take(document, "id", str, "a task"),
            name=_take(document, "name", str, "a task"),
            status=_take(document, "status", str, "a task"),
            task_type=str(document.get("task_type") or ""),
            activity=str(document.get("activity") or ""),
            raw=document,
        )


@dataclass(frozen=True)
class SomeTasks:
    """How many tasks of a sort there are, and the names of the first hundred."""

    count: int
    names: tuple[str, ...]

    @classmethod
    def read(cls, document: Any, key: str) -> SomeTasks:
        """Reads one sort of tasks in the answer about a regeneration."""
        sort = _take(document, key, dict, "a regeneration")
        names = _take_list(sort, "names", "a regeneration")
        return cls(_take(sort, "count", int, "a regeneration"), tuple(map(str, names)))


@dataclass(frozen=True)
class Regeneration:
    """What a regeneration does to a job's tasks, or would do.

    `etag` names just this: sent as `if_match`, it keeps anything else from happening.
    """

    is_preview: bool
    generation: int
    kept: int
    again: int
    changed: SomeTasks
    added: SomeTasks
    vanished: SomeTasks
    stopped: int
    inputs: tuple[str, ...]
    etag: str
    raw: dict[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, document: Any, etag: str) -> Regeneration:
        """Reads the answer of `POST /api/farm/v1/jobs/{id}/regenerate`."""
        return cls(
            is_preview=bool(document.get("preview")),
            generation=_take(document, "generation", int, "a regeneration"),
            kept=_take(document, "kept", int, "a regeneration"),
            again=_take(document, "again", int, "a regeneration"),
            changed=SomeTasks.read(document, "changed"),
            added=SomeTasks.read(document, "added"),
            vanished=SomeTasks.read(document, "vanished"),
            stopped=_take(document, "stopped", int, "a regeneration"),
            inputs=tuple(map(str, _take_list(document, "inputs", "a regeneration"))),
            etag=etag,
            raw=document,
        )

    @property
    def queued(self) -> SomeTasks:
        """Tasks that run: those that changed, new ones, and kept ones without a result."""
        count = self.changed.count + self.added.count + self.again
        return SomeTasks(count, self.changed.names + self.added.names)

    @property
    def retired(self) -> SomeTasks:
        """Tasks that go: replaced ones, and those that there are no more."""
        count = self.changed.count + self.vanished.count
        return SomeTasks(count, self.changed.names + self.vanished.names)
