# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request to a farm: its headers, its retries, its error answers.

Built on `http.client` so that nothing lies between us and the connection: no proxy taken from the
environment for a farm in the same room, no redirect followed with the token in hand. This module
knows no operations; those are in `client`.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.parse
import uuid
from collections.abc import Callable
from typing import Any

from .errors import BadRequest, FarmUnreachable, NotAFarm, error_from_answer

ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""A job list of a large farm fits many times over; an endless stream does not."""

RETRY_DELAY_S_MIN = 0.25
RETRY_DELAY_S_MAX = 5.0
RETRY_STATUSES = (502, 503, 504)
"""Answers that say "not now": a farm that is busy, or a proxy in front of one that restarts."""


class Transport:
    """Sends requests to one farm and retries what may succeed a moment later.

    Every changing request carries an `Idempotency-Key`, and each retry carries the same one, so
    that a farm that did the work but lost the connection gives its first answer again.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        user_agent: str,
        timeout_s: float = 30.0,
        retry_s: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url, self._secure, self._host, self._port, self._root = _parse_address(url)
        self._token = token.strip()
        if not self._token.isascii() or any(c in self._token for c in " \r\n\t"):
            raise BadRequest("the token is not one word", hint="Copy it again, in one line")
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._sleep = sleep
        self._clock = clock

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Sends a request and returns the JSON of its answer, or None where it has none."""
        return self.ask_tagged(method, path, body, key=key)[0]

    def ask_tagged(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, if_match: str = ""
    ) -> tuple[Any, str]:
        """The same with the answer's ETag; with `if_match`, refused where that no longer holds."""
        status, told, answer = self._exchange_with_retries(method, path, body, key, if_match)
        content_type, etag = told.get("content-type", ""), told.get("etag", "")
        if status == 204 or not answer:
            return None, etag
        if "json" not in content_type:
            raise NotAFarm(
                f"{self.url} answered with {content_type or 'an unnamed content type'}, not JSON",
                hint="Check the farm address",
                code=status,
            )
        try:
            return json.loads(answer), etag
        except ValueError as cause:
            raise NotAFarm(
                f"{self.url} answered with broken JSON", hint="Look at the farm's log", code=status
            ) from cause

    def ask_text(self, path: str) -> str:
        """Fetches a plain text, such as the end of a task log; empty where there is none."""
        _status, _headers, answer = self._exchange_with_retries("GET", path, None)
        return answer.decode("utf-8", errors="replace")

    def _exchange_with_retries(
        self, method: str, path: str, body: Any, key: str | None = None, if_match: str = ""
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = self._headers(method, body, key)
        if if_match:
            headers["If-Match"] = if_match
        payload = None if body is None else json.dumps(body, allow_nan=False).encode()
        give_up_at = self._clock() + self._retry_s
        delay_s = RETRY_DELAY_S_MIN
        while True:
            wait_s = delay_s * random.uniform(0.5, 1.0)
            try:
                status, reason, answer_headers, answer = self._exchange(
                    method, path, payload, headers
                )
            except (OSError, http.client.HTTPException) as cause:
                if self._clock() + wait_s > give_up_at:
                    raise FarmUnreachable(
                        f"no answer from the farm at {self.url} ({_describe(cause)})",
                        hint="Check that it runs and that the address is right",
                    ) from cause
            else:
                if 200 <= status < 300:
                    return status, answer_headers, answer
                wait_s = max(wait_s, _retry_after_s(answer_headers))
                if status not in RETRY_STATUSES or self._clock() + wait_s > give_up_at:
                    raise error_from_answer(status, reason, answer)
            self._sleep(wait_s)
            delay_s = min(delay_s * 2, RETRY_DELAY_S_MAX)

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, http.client.HTTPMessage, bytes]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(method, self._root + path, body=payload, headers=headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX + 1)
            if len(content) > ANSWER_BYTES_MAX:
                raise NotAFarm(
                    f"{self.url} answered with more than {ANSWER_BYTES_MAX} bytes",
                    hint="Check the farm address",
                    code=answer.status,
                )
            return answer.status, answer.reason, answer.headers, content
        finally:
            connection.close()

    def _headers(self, method: str, body: Any, key: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json, text/plain", "User-Agent": self._user_agent}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        if method != "GET":
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        return headers


def _parse_address(url: str) -> tuple[str, bool, str, int, str]:
    """Splits a farm address into what a connection needs, and refuses what is not one."""
    text = url.strip()
    if "://" not in text:
        text = f"http://{text}"
    hint = "Write it like http://farm:8080/"
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError as cause:
        raise BadRequest(f"{url!r} is not a farm address ({cause})", hint=hint) from cause
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest(f"{url!r} is not a farm address", hint=hint)
    if parts.username or parts.password:
        raise BadRequest("the farm address contains a password", hint="Use a token instead")
    secure = parts.scheme == "https"
    root = parts.path.rstrip("/")
    return (
        f"{parts.scheme}://{parts.netloc}{root}/",
        secure,
        parts.hostname,
        port or (443 if secure else 80),
        root,
    )


def _retry_after_s(headers: http.client.HTTPMessage) -> float:
    """The delay the farm asks for in seconds; 0 where it asks for none or gives a date."""
    asked = headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0


def _describe(cause: BaseException) -> str:
    """A connection error in a few words; Python leaves some of them without a text."""
    return str(cause) or type(cause).__name__
