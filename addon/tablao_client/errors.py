# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong when talking to a farm, one class per thing a caller can do about it.

Every error carries `code` (the HTTP status, or None where no answer came), `message` (what
happened) and `hint` (what to do next). This module only names failures; deciding which answers
are failures is the transport's duty.
"""

from __future__ import annotations

import json


class TablaoError(Exception):
    """Any failure of this client. `str()` of it is fit to be shown to a person."""

    def __init__(self, message: str, *, hint: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class BadRequest(TablaoError):
    """The request is wrong before it was sent: a bad address, an unknown setting, a wrong type."""


class FarmUnreachable(TablaoError):
    """No complete answer came, also not after the retries."""


class NotAFarm(TablaoError):
    """Something answered, but not with what a farm would say."""


class Refused(TablaoError):
    """The farm understood the request and said no (4xx)."""


class NotFound(Refused):
    """The farm knows no such job, task or job type (404)."""


class NotAllowed(Refused):
    """The token is missing, unknown or does not allow this (401, 403)."""


class JobTypeChanged(Refused):
    """The job type has changed on the farm since its settings were fetched (412)."""


class PreviewOvertaken(Refused):
    """Something else would happen by now than what the preview said (412); nothing was done."""


class FarmFault(TablaoError):
    """The farm failed by itself (5xx)."""


class WaitEnded(TablaoError):
    """Waiting ended before the job did: out of time, or told to stop. The job goes on."""


def error_from_answer(status: int, reason: str, body: bytes) -> TablaoError:
    """Turns an error answer into the exception for it.

    Reads both shapes a farm uses: `{code, message}` below /api/v3 and `application/problem+json`
    with its `detail` and `hint` below /api/farm.
    """
    message, hint, kind = _said_by_the_farm(body)
    message = message or f"the farm answered {status} {reason}".strip()
    if status in (401, 403):
        hint = hint or "Set a valid token in the add-on preferences or in TABLAO_TOKEN"
        return NotAllowed(message, hint=hint, code=status)
    if status == 404:
        return NotFound(message, hint=hint or "Check the id and the farm address", code=status)
    if status == 412 and kind.endswith(":stale-preview"):
        return PreviewOvertaken(message, hint=hint, code=status)
    if status == 412:
        hint = hint or "Refresh the job types, look at the settings and submit again"
        return JobTypeChanged(message, hint=hint, code=status)
    if status == 507:
        return FarmFault(message, hint=hint or "Free disk space on the farm", code=status)
    if status >= 500:
        hint = hint or "Look at the farm's log and try again"
        return FarmFault(message, hint=hint, code=status)
    if status >= 400:
        return Refused(message, hint=hint, code=status)
    return NotAFarm(
        f"the address answered {status} {reason}, which a farm does not do",
        hint="Check the farm address; redirects are not followed",
        code=status,
    )


def _said_by_the_farm(body: bytes) -> tuple[str, str, str]:
    """Message, hint and type in an error body, each empty where the body has none."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "", "", ""

    def text(key: str) -> str:
        value = document.get(key)
        return value if isinstance(value, str) else ""

    message = text("message") or text("detail") or text("title")
    return message.rstrip("."), text("hint"), text("type")
