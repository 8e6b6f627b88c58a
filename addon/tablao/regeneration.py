# SPDX-License-Identifier: GPL-3.0-or-later
"""Regenerates the job that the open file was submitted as, after saying what that would do.

From the panel a dialogue shows which tasks would be kept, queued and retired, and only just that
can be confirmed. A script does it at once. What a task is, and which are the same, is the farm's
to say.
"""

from __future__ import annotations

import bpy

from . import job_types, submitted, watch
from .operators import RETRY_S_FROM_PANEL, settings_from, wait_for
from .panel import draw_text
from .preferences import farm_client
from .submission import open_file, refresh, save_in_place, settings_now
from .submitted import Submitted
from .tablao_client import BadRequest, Client, Regeneration, SomeTasks, TablaoError

NAMES_SHOWN = 6
"""Names of tasks of each sort; there may be thousands."""

DIALOGUE_WIDTH = 460


class TABLAO_OT_regenerate_job(bpy.types.Operator):
    """Compile the job of this file anew; tasks that come out the same keep what they have done"""

    bl_idname = "tablao.regenerate_job"
    bl_label = "Regenerate Job"

    job_id: bpy.props.StringProperty(
        name="Job",
        description="Empty: the one that this file was last submitted as",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    settings_json: bpy.props.StringProperty(
        name="Settings",
        description='Settings as a JSON object, such as {"frames": "1-10"}; they win over all else',
        options={"SKIP_SAVE", "HIDDEN"},
    )
    everything: bpy.props.BoolProperty(
        name="Every Task Counts as Changed",
        description="Also for a file that changed where the farm cannot see it",
        default=False,
        options={"SKIP_SAVE"},
    )
    url: bpy.props.StringProperty(
        name="Farm",
        description="Empty: the one that is set",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    wait: bpy.props.BoolProperty(
        name="Wait",
        description="From a script: return when the job has ended, FINISHED only if it completed",
        default=False,
        options={"SKIP_SAVE", "HIDDEN"},
    )
    wait_s: bpy.props.FloatProperty(
        name="Wait at Most",
        description="Seconds after which waiting ends; 0 waits for as long as it takes",
        default=0.0,
        min=0.0,
        options={"SKIP_SAVE", "HIDDEN"},
    )
    save: bpy.props.BoolProperty(
        name="Save First",
        description="Save the file in place, so that the workers open what is open here",
        default=True,
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """For scripts: regenerates and, if asked to, waits. The dialogue ends here, too."""
        confirmed: Regeneration | None = getattr(self, "_told", None)
        severity = "ERROR" if confirmed else "WARNING"
        try:
            if confirmed is None:
                self._prepare(context, farm_client(self.url))
            done = self._ask(preview=False, if_match=confirmed.etag if confirmed else "")
            counts = f"{done.queued.count} tasks queued, {done.kept - done.again} kept"
            text = f"Job {self._job.name!r}: {counts}"
            self.report({"INFO"}, text)
            if confirmed is not None:
                watch.follow(self._client, self._client.job(self._job.job))
            return wait_for(self, self._client, self._job.job) if self.wait else {"FINISHED"}
        except TablaoError as cause:
            self.report({severity}, str(cause))
        return {"CANCELLED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """For a person: asks what would happen, and shows it."""
        try:
            client = farm_client(self.url, retry_s=RETRY_S_FROM_PANEL, timeout_s=30.0)
            self._prepare(context, client)
            self._look()
        except TablaoError as cause:
            self.report({"ERROR"}, str(cause))
            return {"CANCELLED"}
        options = {"width": DIALOGUE_WIDTH}
        if bpy.app.version >= (4, 1, 0):
            options["confirm_text"] = "Regenerate"
        return context.window_manager.invoke_props_dialog(self, **options)

    def check(self, _context: bpy.types.Context) -> bool:
        """Called by Blender after each key and click in the dialogue: the preview follows."""
        if self.everything == self._looked_with:
            return False
        try:
            self._look()
        except TablaoError as cause:
            self._told_words = [str(cause)]
        return True

    def draw(self, _context: bpy.types.Context) -> None:
        """Draws the preview."""
        layout = self.layout
        draw_text(layout, f"{self._job.name}: this would happen", "FILE_REFRESH")
        for line in self._told_words:
            draw_text(layout, line, "DOT")
        layout.prop(self, "everything")

    def _prepare(self, context: bpy.types.Context, client: Client) -> None:
        """Finds the job, settles its settings as they are now, and saves the file."""
        if not bpy.data.filepath:
            raise BadRequest("the file has never been saved", hint="Submit it first")
        refresh(client)
        self._client = client
        self._job = _job_of(client, self.job_id)
        job_type = job_types.chosen_type(context.scene, self._job.type)
        given = {**self._job.given, **settings_from(self.settings_json)}
        self._settings = settings_now(context.scene, job_type, self._job.name, given)
        if self.save:
            # The farm compares what is on the disk, so the preview needs it there, too.
            save_in_place()

    def _ask(self, *, preview: bool, if_match: str = "") -> Regeneration:
        return self._client.regenerate_job(
            self._job.job,
            self._settings,
            everything=self.everything,
            preview=preview,
            if_match=if_match,
            reason="asked for in Blender",
        )

    def _look(self) -> None:
        self._looked_with = self.everything
        self._told = self._ask(preview=True)
        self._told_words = words(self._told)


def _job_of(client: Client, job_id: str) -> Submitted:
    """The named job, or the one that the open file was last submitted as."""
    before = submitted.last(client.url, open_file())
    if job_id and (before is None or before.job != job_id):
        job = client.job(job_id)
        return Submitted(job.id, job.name, job.type)
    if before is None:
        raise BadRequest(
            f"this file was not submitted to {client.url} from this machine",
            hint="Submit it, or name the job in job_id",
        )
    return before


def words(told: Regeneration) -> list[str]:
    """What a regeneration would do, in lines for a person."""
    lines = [f"{told.kept - told.again} tasks stay as they are, with what they have done"]
    lines += _sort(told.queued, "queued")
    if told.again:
        lines.append(f"Of those {told.again} are the same, but have no result yet")
    lines += _sort(told.retired, "retired")
    if told.stopped:
        lines.append(f"{told.stopped} that run are asked to stop")
    if told.inputs:
        lines.append(f"Changed on the disk: {', '.join(told.inputs)}")
    if not told.queued.count and not told.retired.count:
        lines.append("No task changes")
    return lines


def _sort(tasks: SomeTasks, what: str) -> list[str]:
    if not tasks.count:
        return []
    shown = tasks.names[:NAMES_SHOWN]
    more = ", ..." if tasks.count > len(shown) else ""
    names = f": {', '.join(shown)}{more}" if shown else ""
    return [f"{tasks.count} {'task is' if tasks.count == 1 else 'tasks are'} {what}{names}"]


def register() -> None:
    """Makes the operator known to Blender."""
    bpy.utils.register_class(TABLAO_OT_regenerate_job)


def unregister() -> None:
    """Takes it back."""
    bpy.utils.unregister_class(TABLAO_OT_regenerate_job)
