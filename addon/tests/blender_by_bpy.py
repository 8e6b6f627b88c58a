# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a farm's worker render with the bpy module where it expects the program `blender`.

Blender 4.2 and 5.0 come here as Python modules without a program, and an older program cannot open
their files. This reads the arguments a worker passes, in their order as Blender does, and renders
with the real Blender inside the module. It is a test's helper, not a replacement for Blender.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator

import bpy

WITHOUT_EFFECT = ("-b", "--background", "-y", "--enable-autoexec", "--factory-startup", "-noaudio")


def frames_of(text: str) -> Iterator[int]:
    """The frames of `1..3,7`."""
    for part in text.split(","):
        first, _, last = part.partition("..")
        yield from range(int(first), int(last or first) + 1)


def render(text: str) -> None:
    """Renders as `--render-frame` does: each frame by itself; a failure is printed, no more."""
    scene = bpy.context.scene
    for frame in frames_of(text):
        scene.frame_start = scene.frame_end = frame
        try:
            bpy.ops.render.render(animation=True)
        except RuntimeError as cause:
            print(cause, flush=True)


def run_python(code: str, name: str) -> int:
    """Runs an expression or a file; returns 1 if it threw."""
    try:
        exec(compile(code, name, "exec"), {"__name__": "__main__", "__file__": name})
    except SystemExit as end:
        os._exit(int(end.code or 0))
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """One argument after the other, as Blender reads them."""
    exit_code_on_exception = 0
    words = iter(arguments)
    for word in words:
        if word == "--":
            break
        if word in WITHOUT_EFFECT:
            continue
        if word in ("-v", "--version"):
            print(f"Blender {bpy.app.version_string}")
            return 0
        if not word.startswith("-"):
            bpy.ops.wm.open_mainfile(filepath=os.path.abspath(word))
            continue
        value = next(words)
        failed = 0
        if word in ("-S", "--scene"):
            bpy.context.window.scene = bpy.data.scenes[value]
        elif word == "--python-expr":
            failed = run_python(value, "<expression>")
        elif word in ("-P", "--python"):
            with open(value, encoding="utf-8") as file:
                failed = run_python(file.read(), value)
        elif word == "--python-exit-code":
            exit_code_on_exception = int(value)
        elif word in ("-o", "--render-output"):
            bpy.context.scene.render.filepath = value
        elif word in ("-F", "--render-format"):
            bpy.context.scene.render.image_settings.file_format = value
        elif word in ("-f", "--render-frame"):
            render(value)
        else:
            print(f"blender_by_bpy does not know {word}", file=sys.stderr)
            return 2
        if failed and exit_code_on_exception:
            return exit_code_on_exception
    print("\nBlender quit", flush=True)
    return 0


if __name__ == "__main__":
    ended_with = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(ended_with)
