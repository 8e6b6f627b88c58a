# SPDX-License-Identifier: GPL-3.0-or-later
"""The one panel, in the Output Properties: what to submit, the button, and how it goes.

Only draws. Every value it shows is held elsewhere, and it asks the farm nothing, so that Blender
stays quick also where the farm is away.
"""

from __future__ import annotations

import bpy

from . import job_types, submitted, watch
from .job_types import facts
from .preferences import farm_url
from .scene_properties import job_name_of
from .submission import open_file
from .tablao_client import BadRequest, Setting

TEXT_WIDTH = 60
"""Characters that fit a panel of common width; a label does not wrap by itself."""


class TABLAO_PT_submit(bpy.types.Panel):
    """The Tablao panel."""

    bl_label = "Tablao"
    bl_idname = "TABLAO_PT_submit"
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "output"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draws the whole panel."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        scene = context.scene

        layout.prop(scene, "tablao_job_name")
        if not scene.tablao_job_name:
            layout.label(text=f"Will be named {job_name_of(scene)!r}", icon="INFO")
        layout.prop(scene, "tablao_job_priority")
        layout.prop(scene, "tablao_submit_as_paused")

        row = layout.row(align=True)
        row.prop(scene, "tablao_job_type_choice")
        row.operator("tablao.refresh", text="", icon="FILE_REFRESH")
        if facts.tags:
            layout.prop(scene, "tablao_worker_tag_choice")
        _draw_settings(layout, scene)

        row = layout.row()
        row.scale_y = 1.4
        row.operator("tablao.submit_job", icon="RENDER_ANIMATION")
        before = submitted.last(facts.url, open_file())
        if before is not None:
            text = f"Regenerate {before.name!r}..."
            layout.operator("tablao.regenerate_job", text=text, icon="FILE_REFRESH")
        _draw_status(layout)


def _draw_settings(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    if not facts.job_types:
        draw_text(layout, f"Refresh to get the job types of {farm_url()}", "INFO")
        return
    try:
        job_type = job_types.chosen_type(scene)
    except BadRequest as cause:
        draw_text(layout, str(cause), "ERROR")
        return
    group = job_types.group_of(scene, job_type)
    column = layout.column(align=True)
    for setting in job_type.settings:
        if setting.shown_at_submission:
            _draw_setting(column.row(align=True), group, setting)


def _draw_setting(
    row: bpy.types.UILayout, group: bpy.types.PropertyGroup, setting: Setting
) -> None:
    """One setting: a field, with a link button or an evaluate button where it has an expression."""
    linked = job_types.is_linked(group, setting)
    if linked:
        split = row.split(factor=0.4)
        name = split.row()
        name.alignment = "RIGHT"
        name.label(text=setting.label)
        split.label(text=setting.link_description or "Automatic")
    else:
        field = row.row(align=True)
        field.enabled = setting.editable
        # Red while it would be refused: nothing is sent with a required text that is empty.
        field.alert = _is_missing(group, setting)
        field.prop(group, setting.key)
    if setting.link_button:
        icon = "LINKED" if linked else "UNLINKED"
        row.prop(group, job_types.link_property(setting), text="", icon=icon)
    elif setting.eval and setting.editable:
        button = row.operator("tablao.evaluate_setting", text="", icon="SCRIPTPLUGINS")
        button.setting_key = setting.key


def _is_missing(group: bpy.types.PropertyGroup, setting: Setting) -> bool:
    typed = setting.type == "string" and setting.editable
    return typed and setting.required and not getattr(group, setting.key)


def _draw_status(layout: bpy.types.UILayout) -> None:
    current = watch.current()
    if current is None:
        if facts.version:
            layout.label(text=f"{facts.version} at {facts.url}")
        return
    job = current.job
    steps = f"{job.steps_completed} of {job.steps_total}" if job.steps_total else "no steps yet"
    text = f"{job.name}: {job.status} ({steps})"
    if hasattr(layout, "progress"):  # Since Blender 4.0.
        layout.progress(factor=job.fraction_done, text=text)
    else:
        layout.label(text=f"{text}, {job.fraction_done:.0%}")
    if current.text:
        draw_text(layout, current.text, "ERROR")
    if not current.is_over:
        layout.operator("tablao.stop_following", icon="PANEL_CLOSE")
    layout.operator("wm.url_open", text="Open the Dashboard", icon="URL").url = facts.url


def draw_text(layout: bpy.types.UILayout, text: str, icon: str) -> None:
    """A text of any length, broken at words."""
    column = layout.column(align=True)
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            if line and len(line) + len(word) + 1 > TEXT_WIDTH:
                column.label(text=line, icon=icon)
                line, icon = word, "BLANK1"
            else:
                line = f"{line} {word}".strip()
        column.label(text=line, icon=icon)
        icon = "BLANK1"


def register() -> None:
    """Makes the panel known to Blender."""
    bpy.utils.register_class(TABLAO_PT_submit)


def unregister() -> None:
    """Takes it back."""
    bpy.utils.unregister_class(TABLAO_PT_submit)
