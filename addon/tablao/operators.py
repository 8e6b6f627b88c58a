# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person can press and a script can call: refresh, submit, evaluate one setting, stop.

From the panel a submission is followed beside Blender and failures are shown in red. From a script
`wait=True` blocks, and a failure is a warning and `{'CANCELLED'}`, since Blender would turn an error
report into an exception and a script could no longer look at the result.
"""

import json
from typing import Any

import bpy

from . import job_types, watch
from .preferences import farm_client
from .scene_properties import job_name_of
from .submission import Submission, refresh
from .tablao_client import BadRequest, Client, Job, TablaoError

RETRY_S_FROM_PANEL = 3.0
"""A person who waits in front of a frozen window wants to hear soon that the farm is away."""


class TABLAO_OT_refresh(bpy.types.Operator):
    """Ask the farm for its job types, worker tags and shared storage"""

    bl_idname = "tablao.refresh"
    bl_label = "Refresh from Farm"

    url: bpy.props.StringProperty(
        name="Farm", description="Empty: the one that is set", options={"SKIP_SAVE"}
    )

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Asks once; a failure is a warning and leaves what was known."""
        return self._refresh("WARNING", {})

    def invoke(self, _context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """The same for a person: sooner and in red."""
        return self._refresh("ERROR", {"retry_s": RETRY_S_FROM_PANEL, "timeout_s": 10.0})

    def _refresh(self, severity: str, options: dict[str, Any]) -> set[str]:
        try:
            refresh(farm_client(self.url, **options))
        except TablaoError as cause:
            self.report({severity}, str(cause))
            return {"CANCELLED"}
        facts = job_types.facts
        if facts.problem:
            self.report({"WARNING"}, facts.problem)
        self.report({"INFO"}, f"{facts.version}: {len(facts.job_types)} job types")
        return {"FINISHED"}


class TABLAO_OT_submit_job(bpy.types.Operator):
    """Send the open file to the farm"""

    bl_idname = "tablao.submit_job"
    bl_label = "Submit to Tablao"

    job_name: bpy.props.StringProperty(
        name="Job Name", description="Empty: the scene's, else the file's", options={"SKIP_SAVE"}
    )
    job_type: bpy.props.StringProperty(
        name="Job Type", description="Empty: the scene's", options={"SKIP_SAVE"}
    )
    settings_json: bpy.props.StringProperty(
        name="Settings",
        description='Settings as a JSON object, such as {"frames": "1-10"}; they win over all else',
        options={"SKIP_SAVE"},
    )
    url: bpy.props.StringProperty(
        name="Farm", description="Empty: the one that is set", options={"SKIP_SAVE"}
    )
    wait: bpy.props.BoolProperty(
        name="Wait",
        description="From a script: return when the job has ended, FINISHED only if it completed",
        default=False,
        options={"SKIP_SAVE"},
    )
    wait_s: bpy.props.FloatProperty(
        name="Wait at Most",
        description="Seconds after which waiting ends; 0 waits for as long as it takes",
        default=0.0,
        min=0.0,
        options={"SKIP_SAVE"},
    )
    save: bpy.props.BoolProperty(
        name="Save First",
        description="Save the file in place, so that the workers open what is open here",
        default=True,
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """For scripts: submits and, if asked to, waits."""
        try:
            client = farm_client(self.url)
            job = self._submit(context, client)
            return wait_for(self, client, job.id) if self.wait else {"FINISHED"}
        except TablaoError as cause:
            self.report({"WARNING"}, str(cause))
        return {"CANCELLED"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """For a person: submits and follows the job in the panel."""
        try:
            client = farm_client(self.url, retry_s=RETRY_S_FROM_PANEL, timeout_s=10.0)
            job = self._submit(context, client)
        except TablaoError as cause:
            self.report({"ERROR"}, str(cause))
            return {"CANCELLED"}
        watch.follow(client, job)
        return {"FINISHED"}

    def _submit(self, context: bpy.types.Context, client: Client) -> Job:
        submission = Submission(
            scene=context.scene,
            job_name=self.job_name,
            job_type=self.job_type,
            given=settings_from(self.settings_json),
            save=self.save,
        )
        job, warnings = submission.submit(client)
        for warning in warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, f"Submitted {job.name!r} as job {job.id} to {client.url}")
        return job


class TABLAO_OT_evaluate_setting(bpy.types.Operator):
    """Set this field to what its expression says now"""

    bl_idname = "tablao.evaluate_setting"
    bl_label = "Set from Scene"
    bl_options = {"INTERNAL", "UNDO"}

    setting_key: bpy.props.StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Evaluates one setting of the scene's job type."""
        scene = context.scene
        try:
            job_type = job_types.chosen_type(scene)
            found = [s for s in job_type.settings if s.key == self.setting_key and s.eval]
            if not found:
                raise BadRequest(f"{job_type.name!r} has no expression for {self.setting_key!r}")
            group = job_types.group_of(scene, job_type)
            view = job_types.settled(group, job_type, job_name_of(scene), {})
            setattr(group, self.setting_key, view.evaluated(found[0]))
        except (TablaoError, TypeError, AttributeError) as cause:
            self.report({"WARNING"}, str(cause))
            return {"CANCELLED"}
        return {"FINISHED"}


class TABLAO_OT_stop_following(bpy.types.Operator):
    """Stop following the job here. The job itself goes on"""

    bl_idname = "tablao.stop_following"
    bl_label = "Stop Following"
    bl_options = {"INTERNAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ends the watch."""
        watch.stop_following()
        return {"FINISHED"}


def wait_for(operator: bpy.types.Operator, client: Client, job_id: str) -> set[str]:
    """For scripts: waits as the operator's `wait_s` says; FINISHED only if the job completed."""
    ended = client.wait_for_job(
        job_id, on_change=_print_progress, timeout_s=operator.wait_s or None
    )
    if ended.status == "completed":
        operator.report({"INFO"}, f"Job {ended.name!r} ({ended.id}) is completed")
        return {"FINISHED"}
    operator.report({"WARNING"}, client.why_not_completed(ended))
    return {"CANCELLED"}


def settings_from(text: str) -> dict[str, Any]:
    """The settings a script gave as JSON."""
    if not text.strip():
        return {}
    hint = 'Write it like {"frames": "1-10"}'
    try:
        document = json.loads(text)
    except ValueError as cause:
        raise BadRequest(f"settings_json is not JSON ({cause})", hint=hint) from cause
    if not isinstance(document, dict):
        raise BadRequest("settings_json is not a JSON object", hint=hint)
    return document


def _print_progress(job: Job) -> None:
    """A line per change on the terminal a waiting script runs in."""
    steps = f"{job.steps_completed}/{job.steps_total}"
    print(f"tablao: {job.status}, step {steps} {job.activity}".rstrip(), flush=True)


_CLASSES = (
    TABLAO_OT_refresh,
    TABLAO_OT_submit_job,
    TABLAO_OT_evaluate_setting,
    TABLAO_OT_stop_following,
)


def register() -> None:
    """Makes the operators known to Blender."""
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    """Takes them back."""
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
