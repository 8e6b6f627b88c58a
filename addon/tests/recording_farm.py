# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server that answers like a farm, writes down what it was asked, and fails on order.

Only for what a real farm cannot be made to do at a chosen moment (a connection that drops after
the job was stored, a proxy's 503) and for looking at request bodies. `run` uses a real farm for
everything else.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REGENERATION = {
    "preview": True,
    "generation": 1,
    "kept": 5,
    "again": 1,
    "changed": {"count": 1, "names": ["render-1"]},
    "added": {"count": 3, "names": ["render-2", "render-3", "render-4"]},
    "vanished": {"count": 1, "names": ["old"]},
    "stopped": 1,
    "inputs": ["/shot.blend"],
}
JOB_TYPES = json.loads((Path(__file__).parent / "job_types.json").read_text(encoding="utf-8"))


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What to do instead of answering the next request whose path ends with `path`."""

    path: str
    status: int = 0  # 0 drops the connection.
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    after_the_work: bool = False
    """Do the work, then lose the answer: a farm that dies after its journal was written."""


class RecordingFarm:
    """Runs in threads of the test's process; use it in a `with`."""

    def __init__(self, storage: str = "/shared") -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault] = deque()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.job_statuses: deque[str] = deque()
        self.tasks: list[dict[str, Any]] = []
        self.log_tail = ""
        self.preview_etag = '"now"'
        self.job_types = JOB_TYPES
        self.tags = [{"id": "76b9a0a0-3a0c-4e9d-9f70-0ab0a0a1f2c1", "name": "fast machines"}]
        self.storage = storage
        self._answers_by_key: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def submissions(self) -> list[Asked]:
        """The job submissions that arrived, retries included."""
        return [a for a in self.asked if (a.method, a.path) == ("POST", "/api/v3/jobs")]

    def __enter__(self) -> RecordingFarm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """What a farm would say."""
        path = asked.path
        if path == "/api/v3/version":
            return 200, {"name": "Recorder", "version": "1.0", "shortversion": "1.0", "git": "x"}
        if path.startswith("/api/v3/configuration/shared-storage/users/"):
            platform = path.rsplit("/", 1)[1]
            answer = {"location": self.storage, "audience": "users", "platform": platform}
            return 200, {**answer, "shamanEnabled": False}
        if path == "/api/v3/jobs/types":
            return 200, {"job_types": self.job_types}
        if path == "/api/v3/worker-mgt/tags":
            return 200, {"tags": self.tags}
        if path == "/api/v3/jobs/check":
            return 204, None
        if path == "/api/v3/jobs" and asked.method == "POST":
            return 200, self._submitted(asked)
        parts = path.split("/")[3:]
        if parts[:1] == ["jobs"] and len(parts) == 2 and parts[1] in self.jobs:
            return 200, self._job_now(parts[1])
        if parts[:1] == ["v1"] and parts[3:] == ["regenerate"] and parts[2] in self.jobs:
            return self._regenerated(asked)
        if parts[:1] == ["jobs"] and parts[2:] == ["tasks"]:
            return 200, {"tasks": self.tasks}
        if parts[:1] == ["tasks"] and parts[2:] == ["logtail"]:
            return (200, self.log_tail) if self.log_tail else (204, None)
        if parts[:1] == ["tasks"] and len(parts) == 2:
            return 200, next(task for task in self.tasks if task["id"] == parts[1])
        return 404, {"code": 404, "message": "there is no such thing"}

    def _submitted(self, asked: Asked) -> dict[str, Any]:
        key = asked.headers.get("idempotency-key", "")
        if key in self._answers_by_key:
            return self._answers_by_key[key]
        job_id = f"00000000-0000-4000-8000-{len(self.jobs) + 1:012}"
        job = {
            **asked.body,
            "id": job_id,
            "created": "2026-01-01T00:00:00Z",
            "updated": "2026-01-01T00:00:00Z",
            "status": asked.body["initial_status"],
            "activity": "",
            "submitter_platform": "",
            "steps_completed": 0,
            "steps_total": 0,
        }
        self.jobs[job_id] = job
        self._answers_by_key[key] = job
        return job

    def _regenerated(self, asked: Asked) -> tuple[int, Any]:
        seen = asked.headers.get("if-match", self.preview_etag)
        if seen != self.preview_etag:
            detail = "the job has changed since the preview"
            return 412, {"type": "urn:tablao:problem:stale-preview", "detail": detail}
        raised = 0 if asked.body["preview"] else 1
        return 200, {
            **REGENERATION,
            "preview": asked.body["preview"],
            "generation": 1 + raised,
        }

    def _job_now(self, job_id: str) -> dict[str, Any]:
        if self.job_statuses:
            self.jobs[job_id]["status"] = self.job_statuses.popleft()
        return self.jobs[job_id]

    def _fault_for(self, path: str) -> Fault | None:
        if self.faults and path.endswith(self.faults[0].path):
            return self.faults.popleft()
        return None

    def _handler(farm) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                raw = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, json.loads(raw) if raw else None)
                with farm._lock:
                    farm.asked.append(asked)
                    fault = farm._fault_for(self.path)
                    if fault is None or fault.after_the_work:
                        status, answer = farm.answer(asked)
                if fault is not None and fault.status == 0:
                    self.close_connection = True
                    return
                if fault is not None:
                    self._send(fault.status, fault.body, fault.content_type, fault.headers)
                elif isinstance(answer, str):
                    self._send(status, answer.encode(), "text/plain")
                else:
                    body = b"" if answer is None else json.dumps(answer).encode()
                    etag = (("ETag", farm.preview_etag),) if "/regenerate" in self.path else ()
                    self._send(status, body, "application/json" if body else "", etag)

            def _send(
                self,
                status: int,
                body: bytes,
                content_type: str,
                headers: tuple[tuple[str, str], ...] = (),
            ) -> None:
                self.send_response(status)
                if content_type:
                    self.send_header("Content-Type", content_type)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _serve

            def log_message(self, *_: object) -> None:
                """Quiet: the tests look at `asked`."""

        return Handler
