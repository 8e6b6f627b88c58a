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
        self.client = importlib.import_module(f"{package}.preferences").farm_client()

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


if __name__ == "__main__":
    run_and_end()
