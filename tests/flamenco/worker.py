#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that behaves as Flamenco's does, written from the facts of its protocol.

It has that worker's habits, the unpleasant ones too: it waits long between tasks, sends its log in
chunks, keeps updates only while the network fails and drops them on any answer but 204 and 409, and
throws its identity away when signing on is answered with anything but 200. `--pace 10` makes every
wait ten times shorter, and changes nothing else. What it does it says on standard output.
"""

import argparse
import base64
import glob
import json
import os
import random
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

TASK_TYPES = ["blender", "ffmpeg", "file-management", "misc"]
LOG_CHUNK_BYTES = 10240
SAVED = re.compile(r"^(?:.*\brender\s+\|\s*)?Saved: '(.*)'")
DONE = re.compile(r"^(?:.*\brender\s+\|\s*)? ?Time: [0-9:.]+|[Ss]kipping existing frame")


class Unreachable(Exception):
    """Nobody answered."""


class Failed(Exception):
    """A command failed, with words for the Manager."""


class Taken(Exception):
    """The task is not this worker's any more."""


def say(*words):
    print(*words, flush=True)


class Worker:
    def __init__(self, manager, home, pace):
        self.manager, self.home, self.pace = manager.rstrip("/"), home, pace
        self.credentials = os.path.join(home, "credentials.json")
        self.queue_file = os.path.join(home, "updates.json")
        self.identity = None
        self.stopping = threading.Event()
        self.updates = threading.Lock()
        os.makedirs(home, exist_ok=True)

    def wait(self, seconds):
        jitter = random.uniform(0.9, 1.1)
        self.stopping.wait(seconds * jitter / self.pace)

    def call(self, method, path, body=None, kind="application/json"):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.manager + path, data=data, method=method)
        request.add_header("User-Agent", "Flamenco/3.9 (reference)")
        if data is not None:
            request.add_header("Content-Type", kind)
        elif method == "POST":
            request.data = b""
        if self.identity:
            name = f"{self.identity['uuid']}:{self.identity['secret']}"
            basic = base64.b64encode(name.encode()).decode()
            request.add_header("Authorization", f"Basic {basic}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, self.decoded(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, self.decoded(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError, OSError) as error:
            raise Unreachable(str(error)) from error

    @staticmethod
    def decoded(answer):
        content = answer.read()
        # As strict as a generated client: whatever calls itself JSON has to be JSON.
        if "json" in (answer.headers.get("Content-Type") or ""):
            return json.loads(content)
        return None

    def register(self):
        secret = secrets.token_hex(32)
        self.identity = None
        code, answer = self.call(
            "POST",
            "/api/v3/worker/register-worker",
            {"name": "reference", "platform": "linux", "secret": secret,
             "supported_task_types": TASK_TYPES},
        )
        if code != 200:
            sys.exit(f"registering was answered with {code}")
        self.identity = {"uuid": answer["uuid"], "secret": secret}
        with open(self.credentials, "w", encoding="utf-8") as file:
            json.dump(self.identity, file)
        say("registered", answer["uuid"])

    def sign_on_once(self):
        return self.call(
            "POST",
            "/api/v3/worker/sign-on",
            {"name": "reference", "supported_task_types": TASK_TYPES,
             "software_version": "3.9", "can_restart": False},
        )

    def sign_on(self):
        try:
            with open(self.credentials, encoding="utf-8") as file:
                self.identity = json.load(file)
        except FileNotFoundError:
            self.register()
        while not self.stopping.is_set():
            try:
                code, answer = self.sign_on_once()
            except (Unreachable, json.JSONDecodeError):
                self.wait(5)
                continue
            if code != 200:
                say("rejected", code)
                self.register()
                code, answer = self.sign_on_once()
                if code != 200:
                    sys.exit(f"signing on was answered with {code}")
            say("signed on")
            return answer["status_requested"]
        return "offline"

    # Updates of tasks.

    def queued(self):
        try:
            with open(self.queue_file, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return []

    def keep(self, queue):
        with open(self.queue_file, "w", encoding="utf-8") as file:
            json.dump(queue, file)

    def send(self, task, update):
        """Sends an update, or keeps it while nobody answers."""
        with self.updates:
            queue = self.queued()
            if not queue:
                try:
                    return self.deliver(task, update)
                except Unreachable:
                    pass
            say("queued", json.dumps(update)[:80])
            self.keep([*queue, [task, update]])

    def deliver(self, task, update):
        code, _ = self.call("POST", f"/api/v3/worker/task/{task}", update)
        if code == 409:
            raise Taken(task)
        if code != 204:
            say("dropped", code, json.dumps(update)[:80])
            raise Failed(f"the Manager answered {code} to an update")

    def flush(self):
        with self.updates:
            queue = self.queued()
            while queue:
                try:
                    self.deliver(*queue[0])
                except Unreachable:
                    break
                except (Taken, Failed):
                    pass
                queue.pop(0)
            self.keep(queue)

    def flush_for_ever(self):
        while not self.stopping.is_set():
            self.wait(30)
            self.flush()

    # States.

    def run(self):
        status = self.sign_on()
        self.flush()
        threading.Thread(target=self.flush_for_ever, daemon=True).start()
        while not self.stopping.is_set() and status in ("awake", "asleep"):
            say("is", status)
            try:
                self.call("POST", "/api/v3/worker/state-changed", {"status": status})
            except Unreachable:
                pass
            status = self.awake() if status == "awake" else self.asleep()
        self.stopping.set()
        self.flush()
        try:
            self.call("POST", "/api/v3/worker/sign-off")
        except Unreachable:
            pass
        say("signed off")

    def asleep(self):
        while not self.stopping.is_set():
            self.wait(3)
            try:
                code, answer = self.call("GET", "/api/v3/worker/state")
            except Unreachable:
                continue
            if code == 200:
                return answer["status_requested"]
        return "offline"

    def awake(self):
        pause = 3
        while True:
            self.wait(pause)
            if self.stopping.is_set():
                return "offline"
            try:
                code, answer = self.call("POST", "/api/v3/worker/task")
            except Unreachable:
                pause = 60
                continue
            if code == 200:
                Execution(self, answer).run()
                self.wait(2)
                pause = 3
            elif code == 423:
                return answer["status_requested"]
            else:
                pause = 20 if code == 204 else 60
                if code != 204:
                    say("asked for a task, answered", code)


class Execution:
    """One task."""

    def __init__(self, worker, assigned):
        self.worker, self.task = worker, assigned
        self.id = assigned["uuid"]
        self.steps = 0
        self.log, self.logged_at = [], time.monotonic()
        self.cancelled = threading.Event()
        self.process = None

    def send(self, **update):
        self.worker.send(self.id, update)

    def run(self):
        say("runs", self.task["name"])
        try:
            self.send(activity="Started", taskStatus="active")
        except (Taken, Failed):
            return
        over = threading.Event()
        watch = threading.Thread(target=self.ask_whether_to_run, args=(over,), daemon=True)
        watch.start()
        try:
            for command in self.task["commands"]:
                self.execute(command["name"], command["parameters"])
            if not self.cancelled.is_set():
                self.send(activity="Completed", taskStatus="completed")
                say("completed", self.task["name"])
        except Taken:
            say("taken", self.task["name"])
        except Failed as problem:
            if not self.cancelled.is_set():
                words = f"Failed: {problem}"
                say("failed", self.task["name"], words)
                try:
                    self.send(activity=words, log=words, taskStatus="failed")
                except (Taken, Failed):
                    pass
        finally:
            over.set()

    def ask_whether_to_run(self, over):
        while not over.wait(10 / self.worker.pace):
            try:
                code, answer = self.worker.call("GET", f"/api/v3/worker/task/{self.id}/may-i-run")
            except Unreachable:
                continue
            if code == 200 and not answer["mayKeepRunning"]:
                say("told to stop", self.task["name"])
                self.cancelled.set()
                if self.process:
                    self.process.kill()
                return

    # Commands.

    def execute(self, name, parameters):
        if name == "echo":
            self.send(log=f'echo: "{parameters["message"]}"')
        elif name == "sleep":
            self.cancelled.wait(int(parameters["duration_in_seconds"]) / self.worker.pace)
            self.send(log=f"slept {int(parameters['duration_in_seconds'])}s")
        elif name == "blender-render":
            line = [parameters["exe"], *shlex.split(parameters.get("exeArgs", ""))]
            line += parameters.get("argsBefore", [])
            line += [parameters["blendfile"]] if parameters["blendfile"] else []
            self.process_of(line + parameters.get("args", []))
        elif name == "frames-to-video":
            line = [parameters["exe"], *shlex.split(parameters.get("exeArgs", ""))]
            line += parameters.get("argsBefore", [])
            fps = str(parameters["fps"])
            line += ["-r", fps, "-pattern_type", "glob", "-i", parameters["inputGlob"]]
            line += [*parameters.get("args", []), "-r", fps, parameters["outputFile"]]
            if not glob.glob(parameters["inputGlob"]):
                raise Failed("there are no frames")
            self.process_of(line)
        elif name == "exec":
            self.process_of([parameters["exe"], *parameters.get("args", [])])
        elif name == "make-directory":
            os.makedirs(parameters["path"], exist_ok=True)
        elif name == "move-directory":
            shutil.move(parameters["src"], parameters["dest"])
        else:
            raise Failed(f"unknown command {name}")
        if self.cancelled.is_set():
            raise Taken(self.id)
        if name not in ("blender-render",):
            self.step()

    def step(self):
        self.steps += 1
        self.send(activity="Progress", steps_completed=self.steps)

    def process_of(self, line):
        # A list of strings may hold any scalars.
        line = [str(word) for word in line]
        self.append(shlex.join(line))
        try:
            self.process = subprocess.Popen(
                line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
        except OSError as error:
            raise Failed(f"{line[0]}: {error}") from error
        for text in self.process.stdout:
            text = text.rstrip("\n")
            self.append(f"pid={self.process.pid} > {text}")
            if saved := SAVED.match(text):
                self.show(saved.group(1))
            if DONE.match(text):
                self.step()
        self.flush_log()
        code = self.process.wait()
        if code != 0:
            raise Failed(f"{line[0]} ended with exit code {code}")

    def append(self, line):
        self.log.append(line + "\n")
        is_long = sum(map(len, self.log)) > LOG_CHUNK_BYTES
        if is_long or time.monotonic() - self.logged_at > 30 / self.worker.pace:
            self.flush_log()

    def flush_log(self):
        if self.log and not self.cancelled.is_set():
            text, self.log = "".join(self.log), []
            self.send(log=text)
        self.logged_at = time.monotonic()

    def show(self, path):
        """Sends a JPEG of a saved picture; nobody minds if that does not work."""
        if not path.lower().endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff")):
            return
        with tempfile.TemporaryDirectory() as folder:
            jpeg = os.path.join(folder, "picture.jpg")
            made = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-q:v", "3", jpeg], check=False)
            if made.returncode != 0:
                return
            with open(jpeg, "rb") as file:
                picture = file.read()
        path = f"/api/v3/worker/task/{self.id}/output-produced"
        try:
            code, _ = self.worker.call("POST", path, picture, "image/jpeg")
            say("picture", code)
        except Unreachable:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manager", required=True, help="URL of the Manager")
    parser.add_argument("--home", required=True, help="folder for identity and waiting updates")
    parser.add_argument("--pace", type=float, default=1, help="divides every wait")
    options = parser.parse_args()
    worker = Worker(options.manager, options.home, options.pace)
    signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
    signal.signal(signal.SIGINT, lambda *_: worker.stopping.set())
    worker.run()


if __name__ == "__main__":
    main()
