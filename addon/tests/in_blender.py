# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the add-on inside a real Blender (or its bpy module), against a recording farm.

What is looked at: installing, the properties that a job type becomes, what a submission sends, and
what refusing leaves alone. Rendering on a real farm is `on_real_farm.py`. Wants the add-on zip in
TABLAO_ADDON_ZIP and an empty Blender user folder, which `run` prepares.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
import types
import unittest
import warnings
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))

from drawing import drawn  # noqa: E402
from installing import install_add_on  # noqa: E402
from recording_farm import Fault, RecordingFarm  # noqa: E402
from verdict import run_and_end  # noqa: E402

SETTINGS = "tablao_settings_every_setting"
package = install_add_on(Path(os.environ["TABLAO_ADDON_ZIP"]))


def part(name: str) -> types.ModuleType:
    """A module of the installed add-on, whatever package Blender has put it in."""
    return importlib.import_module(f"{package}.{name}")


class InBlender(unittest.TestCase):
    """A saved file at a known place and a farm that records."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.farm = RecordingFarm(storage=str(self.folder)).__enter__()
        self.addCleanup(self.farm.__exit__)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        install_again_if_gone()
        self.scene = bpy.context.scene
        self.scene.name = "Shot"
        self.scene.frame_start, self.scene.frame_end = 7, 9
        self.scene.render.fps, self.scene.render.fps_base = 24, 1.001
        self.file = self.folder / "project" / "seq" / "shot.blend"
        self.file.parent.mkdir(parents=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(self.file))
        bpy.ops.tablao.refresh(url=self.farm.url)
        self.scene.tablao_job_type = "every-setting"
        self.farm.asked.clear()

    @property
    def group(self) -> bpy.types.PropertyGroup:
        return getattr(self.scene, SETTINGS)

    def submit(self, **options: object) -> set[str]:
        return bpy.ops.tablao.submit_job(url=self.farm.url, **options)

    def sent(self) -> dict[str, object]:
        return self.farm.submissions()[-1].body


def install_again_if_gone() -> None:
    """Factory settings switch add-ons off; the tests want this one on."""
    if not hasattr(bpy.types.Scene, "tablao_job_type"):
        install_add_on(Path(os.environ["TABLAO_ADDON_ZIP"]))


class Properties(InBlender):
    def test_each_setting_becomes_the_right_property(self) -> None:
        """Protects the artist's fields: type, label, limits, choices and file choosers."""
        properties = self.group.bl_rna.properties
        self.assertEqual(properties["text"].type, "STRING")
        self.assertEqual(properties["text"].default, "hello")
        count = properties["count"]
        self.assertEqual((count.type, count.name), ("INT", "How Many"))
        self.assertEqual((count.default, count.hard_min, count.hard_max), (3, 1, 9))
        factor = properties["factor"]
        self.assertEqual((factor.type, factor.default, factor.hard_max), ("FLOAT", 1.0, 2.0))
        self.assertEqual((properties["flag"].type, properties["flag"].default), ("BOOLEAN", True))
        quality = properties["quality"]
        self.assertEqual([i.identifier for i in quality.enum_items], ["draft", "final", "archive"])
        self.assertEqual(quality.default, "final")
        self.assertEqual(properties["folder"].subtype, "DIR_PATH")
        self.assertEqual(properties["hashed"].subtype, "FILE_PATH")
        self.assertTrue(properties["autoeval_range"].default)
        self.assertNotIn("autoeval_start", properties)
        self.assertTrue(properties["computed"].is_readonly)
        self.assertFalse(properties["count"].is_animatable)
        self.group.count = 99
        self.assertEqual(self.group.count, 9)

    def test_choosing_a_type_starts_from_its_expressions(self) -> None:
        """Protects fields that an expression can fill from staying empty."""
        self.assertEqual(self.group.start, 7)
        self.group.start = 3
        self.scene.frame_start = 1
        self.assertEqual(self.group.start, 3)
        bpy.ops.tablao.evaluate_setting(setting_key="start")
        self.assertEqual(self.group.start, 1)

    def test_a_computed_field_follows_what_it_is_made_of(self) -> None:
        """Protects the shown output path from lying about what will be sent."""
        with warnings.catch_warnings():
            # Newer Blenders warn where a property does not say that it takes `//`.
            warnings.simplefilter("error")
            self.group.folder = "//../out"
        expected = self.folder / "project" / "out" / "project" / "seq" / "shot" / "shot"
        self.assertEqual(Path(self.group.computed).parts[-3:], expected.parts[-3:])
        self.scene.tablao_job_name = "renamed"
        self.assertIn("renamed", self.group.computed)

    def test_values_survive_saving_other_types_and_a_reordered_farm(self) -> None:
        """Protects an artist's choices from switching types, reloading and list order."""
        self.group.quality = "archive"
        self.group.count = 5
        self.scene.tablao_job_type_choice = "simple-blender-render"
        self.assertEqual(self.scene.tablao_job_type, "simple-blender-render")
        self.scene.tablao_job_type_choice = "every-setting"
        bpy.ops.wm.save_mainfile()
        changed = json.loads(json.dumps(self.farm.job_types))
        changed.reverse()
        every = next(t for t in changed if t["name"] == "every-setting")
        next(s for s in every["settings"] if s["key"] == "quality")["choices"].reverse()
        self.farm.job_types = changed
        part("job_types").unregister()  # As in a Blender that has never seen this farm.
        bpy.ops.wm.open_mainfile(filepath=str(self.file))
        bpy.ops.tablao.refresh(url=self.farm.url)
        scene = bpy.context.scene
        self.assertEqual(scene.tablao_job_type_choice, "every-setting")
        self.assertEqual(getattr(scene, SETTINGS).quality, "archive")
        self.assertEqual(getattr(scene, SETTINGS).count, 5)

    def test_an_unusable_type_does_not_take_the_others_away(self) -> None:
        """Protects a farm's good job types from one broken script."""
        known = part("job_types").facts
        self.assertNotIn("unusable", known.job_types)
        self.assertIn("'unusable' left out", known.problem)
        self.assertIn("no-settings", known.job_types)

    def test_a_farm_that_is_away_leaves_what_was_known(self) -> None:
        """Protects the panel from emptying when the network is gone; it is also kept on disk."""
        known = part("job_types")
        self.farm.faults.append(Fault("/version", 400, b'{"code":400,"message":"no"}'))
        self.assertEqual(bpy.ops.tablao.refresh(url=self.farm.url), {"CANCELLED"})
        self.assertIn("every-setting", known.facts.job_types)
        known.unregister()
        self.assertFalse(hasattr(self.scene, SETTINGS))
        known.register()
        self.assertIn("every-setting", known.facts.job_types)
        self.assertTrue(hasattr(self.scene, SETTINGS))


class Submitting(InBlender):
    def test_what_is_sent_and_in_which_order(self) -> None:
        """Protects the request body: every declared setting, evaluated as the job type says."""
        self.group.folder = "//../out"
        self.scene.tablao_job_priority = 70
        self.scene.tablao_submit_as_paused = True
        self.scene.tablao_worker_tag_choice = self.farm.tags[0]["id"]
        self.assertEqual(self.submit(), {"FINISHED"})
        self.assertEqual(
            [(asked.method, asked.path) for asked in self.farm.asked],
            [
                ("GET", "/api/v3/version"),
                ("GET", f"/api/v3/configuration/shared-storage/users/{sys.platform}"),
                ("GET", "/api/v3/jobs/types"),
                ("GET", "/api/v3/worker-mgt/tags"),
                ("POST", "/api/v3/jobs/check"),
                ("POST", "/api/v3/jobs"),
            ],
        )
        body = self.sent()
        out = self.folder / "project" / "out" / "project" / "seq"
        fps = body["settings"].pop("web_only")
        self.assertAlmostEqual(fps, 24 / 1.001, places=3)
        computed = Path(body["settings"].pop("computed"))
        self.assertEqual(computed.parts[-2:], ("shot", "shot"))
        self.assertEqual(computed.parts[-4:-2], out.parts[-2:])
        self.assertEqual(
            body["settings"],
            {
                "text": "hello",
                "count": 3,
                "factor": 1.0,
                "flag": True,
                "quality": "final",
                "folder": "//../out",
                "hashed": "",
                "range": "7-9",
                "start": 7,
                "hidden_name": "shot",
                "hidden_default": 0,
                "nothing_known": "",
                "blendfile": str(self.file),
            },
        )
        self.assertEqual(body["name"], "shot")
        self.assertEqual(body["type"], "every-setting")
        self.assertEqual(body["type_etag"], "etag-of-every-setting")
        self.assertEqual((body["priority"], body["initial_status"]), (70, "paused"))
        self.assertEqual(body["submitter_platform"], sys.platform)
        self.assertEqual(body["worker_tag"], self.farm.tags[0]["id"])
        self.assertEqual(body["metadata"]["blender.version"], bpy.app.version_string)
        agent = self.farm.submissions()[0].headers["user-agent"]
        self.assertIn("Blender add-on", agent)

    def test_what_a_script_gives_wins(self) -> None:
        """Protects scripts: given values beat links, expressions, defaults and typed values."""
        given = {"range": "1-2", "hidden_name": "given", "count": 8.0, "computed": "/here"}
        result = self.submit(job_name="from a script", settings_json=json.dumps(given))
        self.assertEqual(result, {"FINISHED"})
        settings = self.sent()["settings"]
        self.assertEqual({key: settings[key] for key in given}, given)
        self.assertEqual(self.sent()["name"], "from a script")

    def test_an_unlinked_setting_sends_what_was_typed(self) -> None:
        """Protects a typed frame range from being overwritten by the scene's."""
        self.group.autoeval_range = False
        self.group.range = "40"
        self.submit()
        self.assertEqual(self.sent()["settings"]["range"], "40")

    def test_without_a_choice_the_open_file_is_rendered(self) -> None:
        """Protects the shortest script: a file, a submit, nothing chosen before."""
        self.scene.tablao_job_type = ""
        given = json.dumps({"render_output_root": "/out"})
        self.assertEqual(self.submit(settings_json=given), {"FINISHED"})
        body = self.sent()
        self.assertEqual(body["type"], "simple-blender-render")
        self.assertEqual(body["settings"]["frames"], "7-9")
        self.assertEqual(body["settings"]["render_output_path"], "/out/shot/{timestamp}/######")

    def test_the_open_scene_is_saved_before_it_is_sent(self) -> None:
        """Protects against workers rendering an older state than the open one."""
        self.scene.name = "Renamed by a script"
        self.submit()
        # A copy, because Blender 5.0 refuses to look into the file that is open.
        copy = shutil.copy(self.file, self.folder / "copy.blend")
        with bpy.data.libraries.load(str(copy)) as (inside, _):
            saved = list(inside.scenes)
        self.assertEqual(saved, ["Renamed by a script"])
        before = self.file.stat().st_mtime_ns
        self.submit(save=False)
        self.assertEqual(self.file.stat().st_mtime_ns, before)

    def test_a_refusal_says_why_and_leaves_the_file_alone(self) -> None:
        """Protects the file on disk from a submission that never happens."""
        self.scene.frame_end = 99
        before = self.file.read_bytes()
        cases: list[dict[str, object]] = [
            {"settings_json": "{"},
            {"settings_json": "[1]"},
            {"settings_json": '{"no_such": 1}'},
            {"settings_json": '{"count": "three"}'},
            {"settings_json": '{"count": 1.5}'},
            {"settings_json": '{"text": ""}'},
            {"job_type": "no-such-type"},
            {"job_type": "throws"},
            {"job_type": "circle"},
            {"job_type": "simple-blender-render"},  # Its output root is required and empty.
        ]
        for case in cases:
            with self.subTest(**case):
                self.assertEqual(self.submit(**case), {"CANCELLED"})
        self.farm.faults.append(Fault("/check", 400, b'{"code":400,"message":"the script throws"}'))
        self.assertEqual(self.submit(), {"CANCELLED"})
        self.farm.faults.append(Fault("/check", 412, b'{"code":412,"message":"old etag"}'))
        self.assertEqual(self.submit(), {"CANCELLED"})
        self.assertEqual(bpy.ops.tablao.submit_job(url="ftp://x"), {"CANCELLED"})
        self.scene.tablao_worker_tag = "gone"
        self.assertEqual(self.submit(), {"CANCELLED"})
        self.assertEqual(self.farm.submissions(), [])
        self.assertEqual(self.file.read_bytes(), before)

    def test_a_file_without_a_name_is_refused(self) -> None:
        """Protects against sending a file that exists nowhere."""
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        install_again_if_gone()
        self.assertEqual(self.submit(job_type="every-setting"), {"CANCELLED"})
        self.assertEqual(self.farm.asked, [])

    def test_a_dropped_connection_submits_once(self) -> None:
        """Protects an artist from paying for a lost answer with a second job."""
        self.farm.faults.append(Fault("/jobs", after_the_work=True))
        self.assertEqual(self.submit(), {"FINISHED"})
        self.assertEqual((len(self.farm.submissions()), len(self.farm.jobs)), (2, 1))


class Waiting(InBlender):
    def test_waiting_ends_as_the_job_ends(self) -> None:
        """Protects scripts that decide by the operator's result."""
        for status, result in (
            ("completed", "FINISHED"),
            ("failed", "CANCELLED"),
            ("canceled", "CANCELLED"),
        ):
            self.farm.job_statuses += ["active", status]
            self.assertEqual(self.submit(wait=True), {result}, status)

    def test_waiting_ends_after_its_time(self) -> None:
        """Protects a build machine from a job nobody works on."""
        self.assertEqual(self.submit(wait=True, wait_s=0.001), {"CANCELLED"})

    def test_the_panel_follows_a_job_beside_blender(self) -> None:
        """Protects the panel's progress and its reason for a failure; no thread may be left."""
        watch = part("watch")
        client = part("preferences").farm_client(self.farm.url)
        self.submit()
        job = client.job(next(iter(self.farm.jobs)))
        self.farm.job_statuses.append("failed")
        task = {"id": "t1", "name": "render-7", "status": "failed", "activity": "no camera"}
        self.farm.tasks = [task]
        watch.follow(client, job)
        current = watch.current()
        current._thread.join(timeout=30)
        self.assertTrue(current.is_over)
        self.assertEqual(current.job.status, "failed")
        self.assertIn("no camera", current.text)
        draw_panel(self)
        watch.follow(client, job)
        bpy.ops.tablao.stop_following()
        watch.current()._thread.join(timeout=30)
        self.assertTrue(watch.current().is_over)


class Regenerating(InBlender):
    def setUp(self) -> None:
        super().setUp()
        self.submit(settings_json='{"hidden_name": "given"}')
        self.job = next(iter(self.farm.jobs))
        self.farm.asked.clear()

    def regenerate(self, **options: object) -> set[str]:
        return bpy.ops.tablao.regenerate_job(url=self.farm.url, **options)

    def asked(self) -> list[dict[str, object]]:
        path = f"/api/farm/v1/jobs/{self.job}/regenerate"
        return [each.body for each in self.farm.asked if each.path == path]

    def test_the_job_of_this_file_is_regenerated_with_its_settings_as_they_are_now(self) -> None:
        """Protects what the person sees in the panel, and what a script gave at submission."""
        self.group.count = 5
        self.scene.frame_end = 12
        self.scene.tablao_job_name = "another name"
        self.scene.tablao_job_type = "no-settings"  # Chosen since; the job keeps its type.
        self.assertEqual(self.regenerate(), {"FINISHED"})
        (body,) = self.asked()
        settings = body["settings"]
        self.assertEqual((settings["count"], settings["range"]), (5, "7-12"))
        self.assertEqual(settings["hidden_name"], "given")
        self.assertEqual(settings["blendfile"], str(self.file))
        self.assertIn("shot", settings["computed"])
        self.assertNotIn("another name", settings["computed"])
        self.assertEqual((body["preview"], body["everything"]), (False, False))
        self.assertEqual(body["submitter_platform"], sys.platform)
        self.regenerate(settings_json='{"count": 7, "hidden_name": "anew"}', everything=True)
        body = self.asked()[-1]
        self.assertEqual((body["settings"]["count"], body["settings"]["hidden_name"]), (7, "anew"))
        self.assertTrue(body["everything"])

    def test_another_session_knows_the_job_and_another_file_does_not(self) -> None:
        """Protects an artist who comes back the next day, and a copy of the file from its job."""
        submitted = part("submitted")
        submitted.unregister()
        self.assertIsNone(submitted.last(self.farm.url, str(self.file)))
        submitted.register()
        self.assertEqual(submitted.last(self.farm.url, str(self.file)).job, self.job)
        self.assertIn("Regenerate 'shot'...", draw_panel(self))
        bpy.ops.wm.save_as_mainfile(filepath=str(self.folder / "copy.blend"))
        self.assertNotIn("Regenerate", draw_panel(self))
        self.assertEqual(self.regenerate(), {"CANCELLED"})
        self.assertEqual(self.asked(), [])
        self.assertEqual(self.regenerate(job_id=self.job), {"FINISHED"})
        self.assertEqual(len(self.asked()), 1)

    def test_the_file_is_saved_before_the_farm_compares_it(self) -> None:
        """Protects a preview from being about an older file than the one that is open."""
        self.scene.name = "Renamed by a script"
        before = self.file.stat().st_mtime_ns
        self.regenerate(save=False)
        self.assertEqual(self.file.stat().st_mtime_ns, before)
        self.regenerate()
        self.assertGreater(self.file.stat().st_mtime_ns, before)

    def test_the_dialogue_says_what_would_be_kept_queued_and_retired(self) -> None:
        """Protects the person who confirms: every number of the farm's answer is there."""
        module = part("regeneration")
        job = part("submitted").last(self.farm.url, str(self.file))
        told = part("preferences").farm_client(self.farm.url).regenerate_job(job.job, preview=True)
        operator = module.TABLAO_OT_regenerate_job
        lines = drawn(self, operator, _job=job, _told_words=module.words(told), everything=False)
        for line in (
            "4 tasks stay as they are",
            "5 tasks are queued: render-1, render-2, render-3",
            "Of those 1 are the same, but have no result yet",
            "2 tasks are retired: render-1, old",
            "1 that run are asked to stop",
            "Changed on the disk: /shot.blend",
        ):
            self.assertIn(line, lines)

    def test_the_preview_follows_the_switch_in_the_dialogue(self) -> None:
        """Protects from confirming what was shown for another choice; keys alone ask nothing."""
        module = part("regeneration")
        looks: list[bool] = []
        dialogue = types.SimpleNamespace(everything=False, _looked_with=False)
        dialogue._look = lambda: looks.append(dialogue.everything)
        check = module.TABLAO_OT_regenerate_job.check
        self.assertFalse(check(dialogue, bpy.context))
        dialogue.everything = True
        self.assertTrue(check(dialogue, bpy.context))
        self.assertEqual(looks, [True])

    def test_what_fails_is_told_and_changes_nothing(self) -> None:
        """Protects scripts that decide by the operator's result."""
        self.assertEqual(self.regenerate(settings_json='{"no_such": 1}'), {"CANCELLED"})
        self.assertEqual(self.asked(), [])
        refusal = b'{"type": "urn:tablao:problem:not-compiled", "detail": "the script throws"}'
        self.farm.faults.append(Fault("/regenerate", 422, refusal))
        self.assertEqual(self.regenerate(), {"CANCELLED"})

    def test_waiting_ends_as_the_job_ends(self) -> None:
        """Protects build scripts that go on only with all frames there."""
        for status, result in (("completed", "FINISHED"), ("failed", "CANCELLED")):
            self.farm.job_statuses += ["active", status]
            self.assertEqual(self.regenerate(wait=True), {result}, status)


class Drawing(InBlender):
    def test_every_state_of_the_panel_draws(self) -> None:
        """Protects the panel from names that this Blender does not have."""
        labels = draw_panel(self)
        self.assertIn("Scene range", labels)
        self.group.autoeval_range = False
        self.assertNotIn("Scene range", draw_panel(self))
        self.assertNotIn("!Text", draw_panel(self))
        self.group.text = ""  # Required; the optional "Hashed" is empty, too.
        self.assertIn("!Text", draw_panel(self))
        self.assertNotIn("!Hashed", draw_panel(self))
        self.scene.tablao_job_type = "gone"
        self.assertIn("no job type 'gone'", draw_panel(self))
        facts = part("job_types").facts
        kept = facts.job_types
        facts.job_types = {}
        self.assertIn("Refresh to get", draw_panel(self))
        facts.job_types = kept


def draw_panel(case: unittest.TestCase) -> str:
    return drawn(case, part("panel").TABLAO_PT_submit)


if __name__ == "__main__":
    run_and_end()
