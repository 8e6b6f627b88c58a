# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders one task after the other inside a Blender that stays up.

Tablao's Worker starts Blender with it behind everything that the tasks of a job have in common, and
puts two lines before it: ORDERS, a named pipe with one JSON order a line, and MARK, with which every
answer on standard output begins. It prints no other line, so a task's log is that of a cold start.
It decides nothing: what looks wrong is answered as such, and the Worker starts Blender anew.
"""

import ctypes
import json
import os
import sys

import bpy

# A farm's scene names some hundred files; looking at more before each task would cost more than it
# protects.
WATCHED_MAX = 5000

# Set anew for every task or by rendering itself, and one that warns whoever asks for it.
PASSED_OVER = {
    "filepath", "frame_start", "frame_end", "frame_step", "frame_current", "frame_current_final",
    "frame_float", "frame_subframe", "use_nodes",
}


class Stale(Exception):
    """This Blender is not any more what a cold start would be."""


class Answers:
    """Lines on standard output, behind everything that was printed before."""

    def __init__(self):
        self.libc = ctypes.CDLL(None)

    def say(self, **what):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, ValueError, OSError):
                # An add-on has put something else there.
                pass
        self.libc.fflush(None)
        line = f"{MARK}{json.dumps(what)}\n".encode()
        while line:
            line = line[os.write(1, line):]


def facts_of(path):
    """What tells one state of a file from another."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return (facts.st_size, facts.st_mtime_ns, facts.st_ino)


def files_of_scene():
    """Every file outside the blend file that the scene uses, with its state."""
    paths = set(bpy.utils.blend_paths(absolute=True, packed=False, local=False))
    paths.update(bpy.path.abspath(library.filepath) for library in bpy.data.libraries)
    if len(paths) > WATCHED_MAX:
        raise Stale(f"the scene uses {len(paths)} files, more than are watched")
    return {path: facts_of(path) for path in paths if not os.path.isdir(path)}


def settings_of(scene):
    """Every plain setting of a render, to find out what a task left behind."""
    render = scene.render
    owners = [
        ("scene", scene), ("render", render), ("image", render.image_settings),
        ("view", scene.view_settings), ("display", scene.display_settings),
        ("cycles", getattr(scene, "cycles", None)), ("eevee", getattr(scene, "eevee", None)),
    ]
    settings = {}
    for name, owner in owners:
        if owner is None:
            continue
        if name == "cycles" and bpy.app.version < (5, 0, 0):
            # What an add-on registered: asking for a choice that this Blender was built without
            # prints a warning into the task's log.
            for key in owner.keys():
                value = owner[key]
                value = value.to_list() if hasattr(value, "to_list") else value
                settings[f"{name}.{key}"] = repr(value)
            continue
        for known in owner.bl_rna.properties:
            kind = known.type
            if known.is_readonly or kind in ("POINTER", "COLLECTION") or known.identifier in PASSED_OVER:
                continue
            try:
                value = getattr(owner, known.identifier)
                value = tuple(value) if getattr(known, "is_array", False) else value
            except (AttributeError, TypeError, ValueError, RuntimeError):
                continue
            # As text, because a NaN does not equal itself.
            settings[f"{name}.{known.identifier}"] = repr(value)
    settings["scene.camera"] = scene.camera.name_full if scene.camera else None
    return settings


def looks_at_the_range(scene):
    """Whether a picture may depend on the first or last frame of the scene, which a render of one
    frame has to set in a Blender before 4.5."""
    render = scene.render
    if render.use_stamp_frame_range and (render.use_stamp or render.metadata_input == "SCENE"):
        return True
    for name in dir(bpy.data):
        things = getattr(bpy.data, name, None)
        if not isinstance(things, bpy.types.bpy_prop_collection):
            continue
        for thing in things:
            animation = getattr(thing, "animation_data", None)
            for curve in animation.drivers if animation else ():
                words = [curve.driver.expression]
                words += [t.data_path for v in curve.driver.variables for t in v.targets]
                if any("frame_start" in word or "frame_end" in word for word in words):
                    return True
    return False


class Server:
    """One scene, as it was when all arguments that tasks share had been acted upon."""

    def __init__(self):
        self.scene_name = bpy.context.scene.name_full
        scene = bpy.context.scene
        self.output = scene.render.filepath
        self.range = (scene.frame_start, scene.frame_end, scene.frame_step)
        self.frame = (scene.frame_current, scene.frame_subframe)
        self.files = files_of_scene()
        self.settings = settings_of(scene)
        # From 4.5 on a render is told its frames; before, the scene has to be.
        self.tells_frames = "frame_start" in bpy.ops.render.render.get_rna_type().properties
        if not self.tells_frames and looks_at_the_range(scene):
            raise Stale("the scene looks at its frame range")

    def scene(self):
        scene = bpy.context.scene
        if scene is None or scene.name_full != self.scene_name:
            raise Stale("another scene is the current one")
        return scene

    def check(self):
        """Compares with what was loaded. The Worker looks at the blend file itself."""
        for path, facts in self.files.items():
            if facts_of(path) != facts:
                raise Stale(f"{path} has changed")

    def check_settings(self):
        found = settings_of(self.scene())
        for name in found.keys() | self.settings.keys():
            if found.get(name) != self.settings.get(name):
                raise Stale(f"{name} was changed while it rendered")

    def reset(self, scene):
        """As it was loaded, but for what check_settings finds."""
        scene.render.filepath = self.output
        set_range(scene, *self.range)
        if (scene.frame_current, scene.frame_subframe) != self.frame:
            scene.frame_current, scene.frame_subframe = self.frame

    def render(self, order):
        scene = self.scene()
        self.reset(scene)
        sys.argv[:] = order["argv"]
        if order["output"] is not None:
            scene.render.filepath = order["output"]
        start, end, step = self.range
        start = start if order["start"] is None else order["start"]
        end = end if order["end"] is None else order["end"]
        step = step if order["jump"] is None else order["jump"]
        set_range(scene, start, end, step)
        if order["frames"] is None:
            bpy.ops.render.render(animation=True)
            return
        # As --render-frame does: an animation of one frame for each.
        for first, last in order["frames"]:
            for frame in range(first, last + 1):
                if self.tells_frames:
                    bpy.ops.render.render(animation=True, frame_start=frame, frame_end=frame)
                else:
                    set_range(scene, frame, frame, step)
                    bpy.ops.render.render(animation=True)


def set_range(scene, start, end, step):
    """Setting one end moves the other out of its way, so the first is set twice."""
    if (scene.frame_start, scene.frame_end, scene.frame_step) != (start, end, step):
        scene.frame_start = start
        scene.frame_end = end
        scene.frame_start = start
        scene.frame_step = step


def memory():
    """Memory held now and the most that the task held, in bytes; 0 where nobody tells."""
    held = {"VmRSS": 0, "VmHWM": 0}
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                name, _, rest = line.partition(":")
                if name in held:
                    held[name] = int(rest.split()[0]) * 1024
    except OSError:
        pass
    return {"held": held["VmRSS"], "most": held["VmHWM"]}


def forget_peak():
    """The most memory is to be that of the task."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def serve():
    answers = Answers()
    # Opens at once: the Worker holds both ends. It ends when the Worker does.
    with open(ORDERS, encoding="utf-8") as orders:
        try:
            server = Server()
        except Stale as why:
            answers.say(unfit=str(why))
            return
        suspect = None
        answers.say(ready=bpy.app.version_string, memory=memory())
        for line in orders:
            order = json.loads(line)
            try:
                if suspect:
                    raise Stale(suspect)
                server.check()
            except Stale as why:
                answers.say(stale=str(why))
                return
            forget_peak()
            try:
                server.render(order)
            except Exception as problem:  # noqa: BLE001 - whatever it is, a cold start tells more
                print(problem)
                answers.say(failed=f"{type(problem).__name__}: {problem}")
                return
            answers.say(done=order["number"], memory=memory())
            # After the answer: the Worker has other things to do meanwhile.
            try:
                server.check_settings()
            except Stale as why:
                suspect = str(why)


serve()
