# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the client where a real farm cannot produce the case: lost answers, proxies, outages.

Time is a number here and sleeping adds to it, so nothing waits.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import build_zip  # noqa: E402
from recording_farm import Fault, RecordingFarm  # noqa: E402
from verdict import run_and_end  # noqa: E402

import tablao_client  # noqa: E402
from tablao_client import Client, Setting, job_request  # noqa: E402
from tablao_client.models import Job  # noqa: E402


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ClientCase(unittest.TestCase):
    """A client and a recording farm for each test."""

    def setUp(self) -> None:
        self.farm = self.enterContext(RecordingFarm()) if hasattr(self, "enterContext") else None
        if self.farm is None:  # Python 3.10 has no enterContext.
            self.farm = RecordingFarm().__enter__()
            self.addCleanup(self.farm.__exit__)
        self.time = Time()
        self.client = self.new_client()

    def new_client(self, **options: Any) -> Client:
        settings = {"token": "", "sleep": self.time.sleep, "clock": self.time.clock, **options}
        return Client(self.farm.url, **settings)

    def body(self) -> dict[str, Any]:
        return job_request(self.client.job_types()[0], "a job", {"text": "x"})


class Regenerating(ClientCase):
    def test_a_preview_can_be_confirmed_and_nothing_else(self) -> None:
        """Protects a person who confirmed one thing from getting another."""
        job = self.client.submit_job(self.body())
        told = self.client.regenerate_job(job.id, {"count": 4}, preview=True)
        self.assertTrue(told.is_preview)
        self.assertEqual((told.kept, told.queued.count, told.retired.count), (5, 5, 2))
        self.assertEqual(told.queued.names, ("render-1", "render-2", "render-3", "render-4"))
        self.assertEqual(told.etag, '"now"')
        self.farm.preview_etag = '"later"'
        with self.assertRaises(tablao_client.PreviewOvertaken):
            self.client.regenerate_job(job.id, {"count": 4}, if_match=told.etag)
        done = self.client.regenerate_job(job.id, {"count": 4}, if_match='"later"')
        self.assertEqual((done.is_preview, done.generation), (False, 2))
        asked = self.farm.asked[-1]
        self.assertEqual(asked.headers["if-match"], '"later"')
        self.assertEqual(asked.body["settings"], {"count": 4})


class Submitting(ClientCase):
    def test_a_lost_answer_is_asked_for_again_with_the_same_key(self) -> None:
        """Protects against a job submitted twice because the farm died after storing it."""
        self.farm.faults += [Fault("/jobs", after_the_work=True), Fault("/jobs")]
        job = self.client.submit_job(self.body())
        keys = [asked.headers["idempotency-key"] for asked in self.farm.submissions()]
        self.assertEqual(len(keys), 3)
        self.assertEqual(len(set(keys)), 1)
        self.assertRegex(keys[0], r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual(list(self.farm.jobs), [job.id])

    def test_two_submissions_have_two_keys(self) -> None:
        """Protects a person who means to submit the same thing twice."""
        first = self.client.submit_job(self.body())
        second = self.client.submit_job(self.body())
        self.assertNotEqual(first.id, second.id)
        keys = {asked.headers["idempotency-key"] for asked in self.farm.submissions()}
        self.assertEqual(len(keys), 2)

    def test_a_caller_can_bring_its_own_key(self) -> None:
        """Protects a caller that was itself killed and asks again in a new process."""
        first = self.client.submit_job(self.body(), idempotency_key="mine")
        again = self.new_client().submit_job(self.body(), idempotency_key="mine")
        self.assertEqual(first.id, again.id)

    def test_busy_answers_are_retried_as_late_as_asked(self) -> None:
        """Protects a restarting farm from being hammered, and the job from being refused."""
        busy = Fault(
            "/jobs", 503, b'{"code":503,"message":"busy"}', headers=(("Retry-After", "7"),)
        )
        self.farm.faults.append(busy)
        self.client.submit_job(self.body())
        self.assertGreaterEqual(self.time.now, 7)
        self.assertEqual(len(self.farm.jobs), 1)

    def test_a_refusal_is_not_retried(self) -> None:
        """Protects against asking a farm again what it has clearly refused."""
        self.farm.faults.append(
            Fault("/jobs", 400, b'{"code":400,"message":"frames: empty range"}')
        )
        with self.assertRaises(tablao_client.Refused) as caught:
            self.client.submit_job(self.body())
        self.assertEqual(caught.exception.code, 400)
        self.assertEqual(caught.exception.message, "frames: empty range")
        self.assertEqual(len(self.farm.submissions()), 1)

    def test_giving_up_says_where_it_tried(self) -> None:
        """Protects a person from an error that does not name the address it is about."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = Client(url, token="", sleep=self.time.sleep, clock=self.time.clock)
        with self.assertRaises(tablao_client.FarmUnreachable) as caught:
            client.version()
        self.assertIn(url, str(caught.exception))
        self.assertIn("Check that it runs", str(caught.exception))
        self.assertGreater(self.time.now, 10)


class Answers(ClientCase):
    def refusal(self, status: int, body: bytes, kind: type) -> tablao_client.TablaoError:
        """The exception for an answer that a real farm gives only behind a proxy or with auth."""
        self.farm.faults.append(Fault("/version", status, body))
        with self.assertRaises(kind) as caught:
            self.client.version()
        self.assertEqual(caught.exception.code, status)
        return caught.exception

    def test_each_refusal_has_its_exception_and_a_hint(self) -> None:
        """Protects callers that decide by exception, and people who need the next step."""
        self.assertIn("TABLAO_TOKEN", self.refusal(401, b"", tablao_client.NotAllowed).hint)
        self.assertIn("TABLAO_TOKEN", self.refusal(403, b"{}", tablao_client.NotAllowed).hint)
        self.assertIn("Refresh", self.refusal(412, b"[]", tablao_client.JobTypeChanged).hint)
        self.assertIn("disk", self.refusal(507, b"\xff", tablao_client.FarmFault).hint)
        self.assertIn("redirects", self.refusal(301, b"", tablao_client.NotAFarm).hint)
        problem = b'{"title":"Unknown job","detail":"no job 7","hint":"List the jobs"}'
        error = self.refusal(404, problem, tablao_client.NotFound)
        self.assertEqual(str(error), "no job 7. List the jobs")

    def test_what_is_not_a_farm_is_called_so(self) -> None:
        """Protects against a web page or a half answer being taken for farm data."""
        for body, content_type in (
            (b"<html>", "text/html"),
            (b'{"name":', "application/json"),
            (b"[1]", "application/json"),
            (b'{"name": 3, "version": "1", "shortversion": "1"}', "application/json"),
        ):
            self.farm.faults.append(Fault("/version", 200, body, content_type))
            with self.assertRaises(tablao_client.NotAFarm):
                self.client.version()

    def test_the_token_travels_only_when_there_is_one(self) -> None:
        """Protects farms without authentication from a header they do not expect."""
        self.client.version()
        self.new_client(token="secret\n").version()
        self.assertNotIn("authorization", self.farm.asked[0].headers)
        self.assertEqual(self.farm.asked[1].headers["authorization"], "Bearer secret")

    def test_addresses(self) -> None:
        """Protects people who write an address without a scheme, or a wrong one."""
        port = self.farm.url.rsplit(":", 1)[1].strip("/")
        self.assertEqual(Client(f" 127.0.0.1:{port} ", token="").version().name, "Recorder")
        for wrong in (
            "ftp://farm",
            "http://",
            "http://farm:port",
            "http://me:pw@farm/",
            "http://[x",
        ):
            with self.assertRaises(tablao_client.BadRequest, msg=wrong):
                Client(wrong, token="")
        with self.assertRaises(tablao_client.BadRequest):
            Client(self.farm.url, token="two\nlines")


class Waiting(ClientCase):
    def wait(self, job: Job, **options: Any) -> Job:
        return self.client.wait_for_job(
            job.id, sleep=self.time.sleep, clock=self.time.clock, **options
        )

    def test_it_outlives_a_farm_that_restarts(self) -> None:
        """Protects waiting scripts from a Manager that is killed and started again."""
        self.client = self.new_client(retry_s=0.0)
        job = self.client.submit_job(self.body())
        self.farm.job_statuses += ["queued", "active", "active", "completed"]
        self.farm.faults += [Fault(job.id), Fault(job.id), Fault(job.id, 500, b"")]
        seen: list[str] = []
        ended = self.wait(job, on_change=lambda now: seen.append(now.status))
        self.assertEqual(ended.status, "completed")
        self.assertEqual(seen, ["queued", "active", "completed"])

    def test_it_ends_when_the_farm_stays_away(self) -> None:
        """Protects a build machine from waiting for ever."""
        self.client = self.new_client(retry_s=0.0)
        job = self.client.submit_job(self.body())
        self.farm.faults += [Fault(job.id) for _ in range(200)]
        with self.assertRaises(tablao_client.FarmUnreachable):
            self.wait(job, outage_s=60)
        self.assertGreater(self.time.now, 60)

    def test_it_ends_when_told_or_out_of_time(self) -> None:
        """Protects callers that have no more time; the job itself is left alone."""
        job = self.client.submit_job(self.body())
        with self.assertRaises(tablao_client.WaitEnded):
            self.wait(job, timeout_s=30)
        with self.assertRaises(tablao_client.WaitEnded):
            self.wait(job, should_stop=lambda: True)
        changing = [a for a in self.farm.asked if a.method == "POST"]
        self.assertEqual(len(changing), 1)

    def test_a_deleted_job_is_not_waited_for(self) -> None:
        """Protects against waiting for a job that somebody has deleted."""
        job = self.client.submit_job(self.body())
        self.farm.jobs.clear()
        with self.assertRaises(tablao_client.NotFound):
            self.wait(job)

    def test_the_reason_of_a_failure_names_task_and_log(self) -> None:
        """Protects people from 'failed' without a why."""
        job = self.client.submit_job(self.body())
        task = {"id": "t1", "name": "render-1", "status": "failed", "task_type": "blender"}
        self.farm.tasks = [{**task, "activity": "exit 1: no camera"}]
        self.farm.log_tail = "one\ntwo\n"
        text = self.client.why_not_completed(job)
        for part in ("render-1", "exit 1: no camera", "one\n  two", job.id):
            self.assertIn(part, text)
        self.farm.faults.append(Fault("/tasks", 500, b""))
        self.assertIn("could not be asked", self.client.why_not_completed(job))


class Reading(unittest.TestCase):
    def test_absent_keys_mean_what_the_api_says(self) -> None:
        """Protects scripts that leave everything optional out: editable, visible, not required."""
        setting = Setting.read({"key": "chunk_size", "type": "int32"})
        self.assertEqual(setting.label, "Chunk Size")
        self.assertTrue(setting.editable and setting.shown_at_submission)
        self.assertFalse(setting.required or setting.link_button or setting.choices)
        self.assertIsNone(setting.default)
        with self.assertRaises(tablao_client.NotAFarm):
            Setting.read({"key": "x", "type": "colour"})

    def test_a_request_carries_the_etag_and_needs_a_name(self) -> None:
        """Protects against submitting settings that belong to an older job type."""
        farm = RecordingFarm()
        job_type = tablao_client.JobType.read(farm.job_types[0])
        body = job_request(job_type, "n", {}, priority=3, paused=True, worker_tag="t")
        self.assertEqual(body["type_etag"], "etag-of-every-setting")
        self.assertEqual((body["initial_status"], body["worker_tag"]), ("paused", "t"))
        self.assertIn(body["submitter_platform"], ("linux", "windows", "darwin"))
        with self.assertRaises(tablao_client.BadRequest):
            job_request(job_type, "  ", {})
        farm._server.server_close()


class Packing(unittest.TestCase):
    def test_the_zip_is_the_same_each_time_and_names_one_version(self) -> None:
        """Protects reproducible packages, and the three places a version must be written in."""
        with tempfile.TemporaryDirectory() as folder:
            one, two = Path(folder, "one.zip"), Path(folder, "two.zip")
            build_zip.build(one)
            build_zip.build(two)
            self.assertEqual(one.read_bytes(), two.read_bytes())
            with zipfile.ZipFile(one) as archive:
                names = archive.namelist()
                manifest = archive.read("tablao/blender_manifest.toml").decode()
                entry = archive.read("tablao/__init__.py").decode()
        self.assertIn("tablao/tablao_client/client.py", names)
        self.assertFalse([name for name in names if "__pycache__" in name or "tests" in name])
        in_manifest = re.search(r'^version = "(.+)"$', manifest, re.MULTILINE)
        in_bl_info = re.search(r'"version": \((.+)\)', entry)
        assert in_manifest and in_bl_info
        self.assertEqual(in_manifest[1], tablao_client.CLIENT_VERSION)
        self.assertEqual(in_bl_info[1].replace(", ", "."), tablao_client.CLIENT_VERSION)

    def test_job_type_fixture_has_each_kind_of_setting(self) -> None:
        """Protects the tests inside Blender from a fixture that no longer covers what they claim."""
        settings = json.loads((HERE / "job_types.json").read_text())[0]["settings"]
        self.assertEqual({s["type"] for s in settings}, {"string", "int32", "float", "bool"})


if __name__ == "__main__":
    run_and_end()
