# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tests of the calling script and ends its process with the line that `run` reads."""

from __future__ import annotations

import os
import sys
import unittest


def run_and_end() -> None:
    """Never returns: Blender would otherwise go on, or end with its own idea of success."""
    result = unittest.main(module="__main__", argv=["tests"], exit=False).result
    failed = len({test.id() for test, _ in result.failures + result.errors})
    if result.testsRun == 0:
        failed = 1
    passed = max(0, result.testsRun - failed)
    sys.stderr.flush()
    print(f"TESTS {passed} passed, {failed} failed", flush=True)
    # At once: the bpy module is known to crash while it is taken down.
    os._exit(1 if failed else 0)
