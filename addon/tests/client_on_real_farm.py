# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's operations against a real farm, which `run` starts and names in TABLAO_URL."""

from __future__ import annotations

import os
import sys
import unittest
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import tablao_client  # noqa: E402
from tablao_client import Client, Job, job_request  # noqa: E402
from verdict import run_and_end  # noqa: E402

WAIT_S_MAX = 120.0


class OnRealFarm(unittest.TestCase):
    """One farm for all tests; each submits its own jobs."""

    def setUp(self) -> None:
        self.client = Client(os.environ["TABLAO_URL"], token="")

    def body(self, **options: object) -> dict[str, object]:
        job_type = self.client.job_type("echo-sleep-test")
        settings = {"message": "hello", "sleep_duration_seconds": 1, "sleep_repeats": 1}
        return job_request(job_type, self.id(), settings, **options)

    def ended(self, job: Job) -> Job:
        return self.client.wait_for_job(job.id, timeout_s=WAIT_S_MAX)

    def test_what_the_farm_is_and_has(self) -> None:
        """Protects everything a submitter asks before it submits."""
        self.assertTrue(self.client.version().version)
        self.assertTrue(self.client.shared_storage().location)
        names = [job_type.name for job_type in self.client.job_types()]
        self.assertIn("echo-sleep-test", names)
        self.assertIn("simple-blender-render", names)
        self.assertIsInstance(self.client.tags(), list)

    def test_a_job_from_submission_to_its_end(self) -> None:
        """Protects check, submit, wait, tasks and the task log together."""
        body = self.body()
        before = len(self.client.jobs())
        self.client.check_job(body)
        self.assertEqual(len(self.client.jobs()), before)
        seen: list[str] = []
        job = self.client.submit_job(body)
        job = self.client.wait_for_job(
            job.id, on_change=lambda now: seen.append(now.status), timeout_s=WAIT_S_MAX
        )
        self.assertEqual((job.status, seen[-1]), ("completed", "completed"))
        self.assertEqual(job.fraction_done, 1.0)
        tasks = self.client.tasks(job.id)
        self.assertEqual([task.name for task in tasks], ["echo", "sleep"])
        self.assertEqual(self.client.task(tasks[0].id).name, "echo")
        self.assertIn("hello", self.client.task_log_tail(tasks[0].id))

    def test_one_key_makes_one_job(self) -> None:
        """Protects a submitter that asks again after losing the answer."""
        body, key = self.body(paused=True), str(uuid.uuid4())
        first = self.client.submit_job(body, idempotency_key=key)
        again = self.client.submit_job(body, idempotency_key=key)
        self.assertEqual(first.id, again.id)
        self.assertEqual([job.id for job in self.client.jobs()].count(first.id), 1)

    def test_a_job_can_be_canceled(self) -> None:
        """Protects set status and the end that is neither success nor failure."""
        job = self.client.submit_job(self.body(paused=True))
        self.client.set_job_status(job.id, "cancel-requested", "a test cancels it")
        self.assertEqual(self.ended(job).status, "canceled")

    def test_refusals_arrive_as_their_exceptions(self) -> None:
        """Protects callers that decide by exception against the farm's real answers."""
        nobody = str(uuid.uuid4())
        with self.assertRaises(tablao_client.NotFound):
            self.client.job(nobody)
        with self.assertRaises(tablao_client.NotFound):
            self.client.job_type("no-such-type")
        with self.assertRaises(tablao_client.JobTypeChanged):
            self.client.check_job({**self.body(), "type_etag": "old"})
        for wrong in ({"type": "no-such-type", "type_etag": ""}, {"priority": "high"}):
            with self.assertRaises(tablao_client.Refused) as caught:
                self.client.submit_job({**self.body(), **wrong})
            self.assertEqual(caught.exception.code, 400)
            self.assertTrue(caught.exception.message)


if __name__ == "__main__":
    run_and_end()
