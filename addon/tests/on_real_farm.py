# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends a scene from a real Blender to a real farm and waits for its frames.

`run` starts the farm, with this Blender as its worker's, and names it in TABLAO_URL; the add-on zip
is in TABLAO_ADDON_ZIP, a folder that all can reach in TABLAO_TEST_FOLDER.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
import unittest
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing import drawn  # noqa: E402
from installing import install_add_on  # noqa: E402
from verdict import run_and_end  # noqa: E402

FOLDER = Path(os.environ["TABLAO_TEST_FOLDER"])
WIDTH, HEIGHT, FRAMES = 64, 36, (1, 2, 3)
WAIT_S_MAX = 300.0
"""Far beyond what three tiny frames take; only ends a test that would otherwise hang."""


def make_scene(name: str) -> None:
    """A scene that renders anywhere: Cycles on the processor, one sample, no denoiser."""
    bpy.ops.wm.read_factory_settings(use_empty=False)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.frame_start, scene.frame_end = FRAMES[0], FRAMES[-1]
    file = FOLDER / "scenes" / f"{name}.blend"
    file.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(file))


class OnRealFarm(unittest.TestCase):
    """One farm for all tests; each has a file and a job of its own."""

    def setUp(self) -> None:
        self.name = self.id().rsplit(".", 1)[1]
        make_scene(self.name)
        package = install_add_on(Path(os.environ["TABLAO_ADDON_ZIP"]))
        self.part = lambda name: importlib.import_module(f"{package}.{name}")
        self.client = self.part("preferences").farm_client()

    def submit_and_wait(self) -> tuple[set[str], object]:
        given: dict[str, object] = {"render_output_root": str(FOLDER / "frames")}
        if os.environ.get("TABLAO_TEST_NO_VIDEO"):
            given["fps"] = 0
        result = bpy.ops.tablao.submit_job(
            job_name=self.name,
            job_type="simple-blender-render",
            settings_json=json.dumps(given),
            wait=True,
            wait_s=WAIT_S_MAX,
        )
        jobs = [job for job in self.client.jobs() if job.name == self.name]
        self.assertEqual(len(jobs), 1, "the scene became exactly one job")
        return result, jobs[0]

    def test_the_open_scene_is_rendered(self) -> None:
        """Protects the whole way: open scene, add-on, farm, worker, Blender, frames on the disk."""
        bpy.context.scene.render.use_stamp = False  # A change that is not saved yet.
        result, job = self.submit_and_wait()
        self.assertEqual(result, {"FINISHED"})
        self.assertEqual(job.status, "completed")
        self.assertEqual(job.settings["frames"], "1-3")
        output = Path(job.settings["render_output_path"])
        self.assertNotIn("{timestamp}", str(output))
        for frame in FRAMES:
            content = (output.parent / f"{frame:06}.png").read_bytes()
            self.assertEqual(content[:8], b"\x89PNG\r\n\x1a\n")
            self.assertEqual(struct.unpack(">II", content[16:24]), (WIDTH, HEIGHT))
            self.assertEqual(content[-8:-4], b"IEND", "the frame is whole")

    def test_a_scene_that_cannot_be_rendered_says_why(self) -> None:
        """Protects scripts from taking a job without frames for a success."""
        bpy.data.objects.remove(bpy.context.scene.camera)
        result, job = self.submit_and_wait()
        self.assertEqual(result, {"CANCELLED"})
        self.assertEqual(job.status, "failed")
        self.assertIn(self.name, self.client.why_not_completed(job))

    def test_a_job_is_regenerated_and_keeps_what_is_the_same(self) -> None:
        """Protects finished frames: a longer range renders only what is new, an edit all of it."""
        result, job = self.submit_and_wait()
        self.assertEqual(result, {"FINISHED"})
        folder = Path(job.settings["render_output_path"]).parent
        before = {frame: (folder / f"{frame:06}.png").stat().st_mtime_ns for frame in FRAMES}
        longer = f"{FRAMES[0]}-{FRAMES[-1] + 1}"
        result = bpy.ops.tablao.regenerate_job(
            settings_json=json.dumps({"frames": longer}), save=False, wait=True, wait_s=WAIT_S_MAX
        )
        self.assertEqual(result, {"FINISHED"})
        self.assertTrue((folder / f"{FRAMES[-1] + 1:06}.png").is_file(), "the new frame is there")
        after = {frame: (folder / f"{frame:06}.png").stat().st_mtime_ns for frame in FRAMES}
        self.assertEqual(after, before, "frames that stayed the same were left alone")

        same = self.client.regenerate_job(job.id, preview=True)
        self.assertEqual((same.generation, same.queued.count, same.inputs), (2, 0, ()))
        bpy.context.scene.render.use_stamp = True
        bpy.ops.wm.save_mainfile()
        edited = self.client.regenerate_job(job.id, preview=True)
        self.assertEqual(edited.inputs, (bpy.data.filepath,))
        self.assertGreaterEqual(edited.queued.count, len(FRAMES) + 1)
        self.assertEqual(edited.retired.count, edited.changed.count)
        with self.assertRaises(self.part("tablao_client").PreviewOvertaken):
            self.client.regenerate_job(job.id, if_match=same.etag)
        self.assertEqual(self.client.regenerate_job(job.id, preview=True).generation, 2)

    def test_every_job_type_of_the_farm_has_the_fields_that_it_declares(self) -> None:
        """Protects a studio's job types: type, label, default, choices and limits are theirs."""
        self.assertEqual(bpy.ops.tablao.refresh(), {"FINISHED"})
        known = self.part("job_types")
        scene = bpy.context.scene
        offered = self.client.job_types()
        self.assertEqual(known.facts.problem, "")
        self.assertEqual(set(known.facts.job_types), {job_type.name for job_type in offered})
        kinds = {"string": "STRING", "int32": "INT", "float": "FLOAT", "bool": "BOOLEAN"}
        for job_type in offered:
            with self.subTest(job_type=job_type.name):
                scene.tablao_job_type_choice = job_type.name
                shown = drawn(self, self.part("panel").TABLAO_PT_submit)
                group = known.group_of(scene, job_type)
                for setting in job_type.settings:
                    field = group.bl_rna.properties[setting.key]
                    choosing = setting.choices and setting.editable
                    self.assertEqual(field.type, "ENUM" if choosing else kinds[setting.type])
                    self.assertEqual(field.name, setting.label)
                    self.assertEqual(field.is_readonly, not setting.editable)
                    if choosing:
                        offers = [each.identifier for each in field.enum_items]
                        self.assertLessEqual(set(setting.choices), set(offers))
                    if setting.default is not None and setting.editable:
                        self.assertEqual(field.default, setting.default)
                    for limit in ("min", "max"):
                        if setting.propargs.get(limit) is not None:
                            declared = setting.propargs[limit]
                            self.assertEqual(getattr(field, f"hard_{limit}"), declared)
                    if setting.shown_at_submission:
                        linked = known.is_linked(group, setting)
                        text = setting.link_description if linked else setting.label
                        self.assertIn(text or "Automatic", shown)


if __name__ == "__main__":
    run_and_end()
