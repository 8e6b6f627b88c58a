# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the panel in a real Blender window and presses its buttons as a person does.

Needs a display and `--enable-event-simulate`; `run` gives both. What the panel says is tested in `in_blender.py`; here
Blender itself draws it, which finds what a stand-in layout cannot. TABLAO_SCREENSHOT names a file
for a picture of the window.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

from installing import install_add_on  # noqa: E402
from recording_farm import RecordingFarm  # noqa: E402

STEP_S = 0.3
"""Time for Blender's own loop to draw between two steps; it decides nothing."""


drawn: list[str] = []
"""What Blender has drawn so far: the state of the watch at each drawing of the panel."""


def open_and_count(panel: type[bpy.types.Panel]) -> None:
    """Opens the panel, since Blender draws only what is open, and notes each drawing."""
    draw = panel.draw

    def counted(self: bpy.types.Panel, context: bpy.types.Context) -> None:
        draw(self, context)
        watch = sys.modules[f"{package}.watch"].current()
        drawn.append(watch.job.status if watch else "no job")

    bpy.utils.unregister_class(panel)
    panel.draw = counted
    panel.bl_options = set()
    bpy.utils.register_class(panel)


def count_drawings(operator: type[bpy.types.Operator]) -> list[str]:
    """Notes each drawing of an operator's dialogue."""
    drawings: list[str] = []
    draw = operator.draw

    def counted(self: bpy.types.Operator, context: bpy.types.Context) -> None:
        draw(self, context)
        drawings.append("; ".join(self._told_words))

    bpy.utils.unregister_class(operator)
    operator.draw = counted
    bpy.utils.register_class(operator)
    return drawings


def take_picture(window: bpy.types.Window, area: bpy.types.Area, suffix: str = "") -> None:
    """A picture of the window, if anybody asked for one."""
    picture = os.environ.get("TABLAO_SCREENSHOT")
    if picture:
        path = Path(picture)
        with bpy.context.temp_override(window=window, area=area):
            bpy.ops.screen.screenshot(filepath=str(path.with_stem(path.stem + suffix)))


def regenerate_in_a_dialogue(farm: RecordingFarm, override: dict[str, object]) -> Iterator[None]:
    """Opens the dialogue, reads it, and presses Enter."""
    module = sys.modules[f"{package}.regeneration"]
    drawings = count_drawings(module.TABLAO_OT_regenerate_job)
    farm.asked.clear()
    with bpy.context.temp_override(**override):
        opened = bpy.ops.tablao.regenerate_job("INVOKE_DEFAULT", url=farm.url)
    assert opened == {"RUNNING_MODAL"}, opened
    for _ in range(4):
        yield
    assert drawings and "5 tasks are queued" in drawings[-1], drawings
    asked = [each for each in farm.asked if each.path.endswith("/regenerate")]
    assert [each.body["preview"] for each in asked] == [True], "nothing before it is confirmed"
    take_picture(override["window"], override["area"], "-dialogue")
    for value in ("PRESS", "RELEASE"):
        override["window"].event_simulate(type="RET", value=value)
        yield
    for _ in range(20):
        asked = [each for each in farm.asked if each.path.endswith("/regenerate")]
        if len(asked) > 1:
            break
        yield
    previews = [each.body["preview"] for each in asked]
    assert previews == [True, False], f"confirmed: {previews}"
    assert asked[-1].headers["if-match"] == farm.preview_etag, "just what was shown"


def steps(farm: RecordingFarm, folder: Path) -> Iterator[None]:
    """What a person does. Between two steps Blender draws."""
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda each: each.width * each.height)
    area.type = "PROPERTIES"
    yield
    area.spaces.active.context = "OUTPUT"
    open_and_count(bpy.types.TABLAO_PT_submit)
    area.tag_redraw()
    yield
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))
    override = {"window": window, "area": area, "region": area.regions[-1]}
    with bpy.context.temp_override(**override):
        assert bpy.ops.tablao.refresh("INVOKE_DEFAULT", url=farm.url) == {"FINISHED"}
    yield
    scene = bpy.context.scene
    scene.tablao_job_type_choice = "every-setting"
    yield
    with bpy.context.temp_override(**override):
        assert bpy.ops.tablao.submit_job("INVOKE_DEFAULT", url=farm.url) == {"FINISHED"}
    assert len(farm.jobs) == 1
    job = next(iter(farm.jobs.values()))
    job.update(status="active", steps_completed=1, steps_total=4, activity="rendering")
    for _ in range(4):
        yield
    take_picture(window, area)
    job["status"] = "completed"
    for _ in range(100):
        watch = sys.modules[f"{package}.watch"].current()
        if watch.is_over:
            break
        yield
    assert watch.job.status == "completed" and watch.text == "", watch.text
    for _ in range(4):
        yield
    for state in ("no job", "active", "completed"):
        assert state in drawn, f"the panel was never drawn with {state}: {drawn}"
    yield from regenerate_in_a_dialogue(farm, override)


def advance() -> float | None:
    """A timer: one step, then time to draw; ends Blender after the last one."""
    try:
        next(walk)
        return STEP_S
    except StopIteration:
        verdict = "TESTS 1 passed, 0 failed"
    except BaseException:
        traceback.print_exc()
        verdict = "TESTS 0 passed, 1 failed"
    print(verdict, flush=True)
    sys.stdout.flush()
    os._exit(0 if verdict.endswith(" 0 failed") else 1)


package = install_add_on(Path(os.environ["TABLAO_ADDON_ZIP"]))
bpy.context.preferences.view.show_splash = False
bpy.context.preferences.view.ui_scale = 0.75  # So that the panel fits the window.
running_farm = RecordingFarm().__enter__()
walk = steps(running_farm, Path(tempfile.mkdtemp(prefix="tablao-window-")))
bpy.app.timers.register(advance, first_interval=STEP_S, persistent=True)
