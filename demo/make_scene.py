# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the demo scene: a dotted fan opening and closing on a small stage.

    blender -b --factory-startup --python demo/make_scene.py -- OUT.blend

Everything is built from numbers below, so the same scene comes out in Blender
3.4 to 5.0 and no binary file lies in the repository. It renders with Cycles on
a CPU, without a denoiser (Debian's Blender is built without one). It only
makes and saves the scene; it renders nothing.
"""

import math
import os
import random
import sys

import bpy

FRAME_LAST = 24
FPS = 24
SAMPLES = 6
# How much of its own colour a surface shows in the shade.
AMBIENT = 0.16

BLADES = 13
FAN_CENTRE_Z = 0.55
FAN_HALF_ANGLE_OPEN = math.radians(82)
FAN_HALF_ANGLE_CLOSED = math.radians(34)
BLADE_INNER, BLADE_OUTER = 0.30, 2.25

# Colours are linear RGB, as Blender's nodes take them.
CRIMSON = (0.52, 0.012, 0.020)
AMBER = (0.90, 0.30, 0.03)
CREAM = (0.88, 0.80, 0.66)
BRASS = (0.80, 0.52, 0.18)
CURTAIN = (0.085, 0.012, 0.030)
PLANK = (0.23, 0.085, 0.030)


def material(name, colour, edge=(0.0, 0.0, 0.0), gloss=0.0):
    """A matt surface in few samples: no light bounces in this scene, so each surface glows faintly
    in its own colour instead, and in the colour of `edge` where it turns away from the camera."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    nodes.clear()
    matt = nodes.new("ShaderNodeBsdfDiffuse")
    matt.inputs["Color"].default_value = (*colour, 1.0)
    surface = matt
    if gloss:
        mirror = nodes.new("ShaderNodeBsdfGlossy")
        mirror.inputs["Roughness"].default_value = 0.12
        surface = nodes.new("ShaderNodeMixShader")
        surface.inputs[0].default_value = gloss
        links.new(matt.outputs[0], surface.inputs[1])
        links.new(mirror.outputs[0], surface.inputs[2])
    turned = nodes.new("ShaderNodeLayerWeight")
    turned.inputs["Blend"].default_value = 0.35
    tint = nodes.new("ShaderNodeMixRGB")
    links.new(turned.outputs["Facing"], tint.inputs[0])
    tint.inputs[1].default_value = (*(channel * AMBIENT for channel in colour), 1.0)
    tint.inputs[2].default_value = (*(channel * AMBIENT + extra for channel, extra in zip(colour, edge)), 1.0)
    glow = nodes.new("ShaderNodeEmission")
    links.new(tint.outputs[0], glow.inputs["Color"])
    both = nodes.new("ShaderNodeAddShader")
    links.new(surface.outputs[0], both.inputs[0])
    links.new(glow.outputs[0], both.inputs[1])
    links.new(both.outputs[0], nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    only_seen(made)
    return made


def only_seen(made):
    """Keeps a glowing material from being sampled as a lamp: the setting's name changed in 3.5."""
    if hasattr(made.cycles, "emission_sampling"):
        made.cycles.emission_sampling = "NONE"
    else:
        made.cycles.sample_as_light = False


def glowing(name, colour, strength):
    """A lamp's glass: it is seen, but the light comes from real lamps, which is far less noisy."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    nodes.clear()
    emission = nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = (*colour, 1.0)
    emission.inputs["Strength"].default_value = strength
    output = nodes.new("ShaderNodeOutputMaterial")
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    only_seen(made)
    return made


def mesh_object(name, vertices, faces, surface, smooth=False):
    """A new object of this mesh in the scene."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    mesh.update()
    mesh.materials.append(surface)
    for polygon in mesh.polygons:
        polygon.use_smooth = smooth
    made = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(made)
    return made


def prism(outline, back, front):
    """Vertices and faces of an outline in X and Z, made solid between two depths."""
    count = len(outline)
    vertices = [(x, back, z) for x, z in outline] + [(x, front, z) for x, z in outline]
    faces = [tuple(range(count)), tuple(range(2 * count - 1, count - 1, -1))]
    faces += [(i, count + i, count + (i + 1) % count, (i + 1) % count) for i in range(count)]
    return vertices, faces


def disc_outline(x, z, radius, steps=20):
    """A circle in X and Z."""
    turns = [2 * math.pi * step / steps for step in range(steps)]
    return [(x + radius * math.cos(turn), z + radius * math.sin(turn)) for turn in turns]


def blade_outline():
    """One blade of the fan: a slim stick that widens and ends round."""
    half_inner, half_outer = 0.035, 0.205
    tip = BLADE_OUTER - half_outer
    outline = [(-half_inner, -0.12), (half_inner, -0.12), (half_inner, BLADE_INNER), (half_outer, tip)]
    steps = 14
    for step in range(1, steps):
        turn = math.pi * step / steps
        outline.append((half_outer * math.cos(turn), tip + half_outer * math.sin(turn)))
    return outline + [(-half_outer, tip), (-half_inner, BLADE_INNER)]


def swing(frame):
    """0 at both ends of the loop and 1 in the middle, smoothly."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * (frame - 1) / FRAME_LAST)


def make_fan():
    """The fan and its movement: each blade a little later than its neighbour."""
    dots = material("dots", CREAM)
    brass = material("brass", BRASS, edge=(0.35, 0.16, 0.03))
    vertices, faces = prism(blade_outline(), -0.010, 0.010)
    for index in range(BLADES):
        share = index / (BLADES - 1)
        colour = tuple(a + (b - a) * share for a, b in zip(CRIMSON, AMBER))
        blade = mesh_object(f"blade {index:02}", vertices, faces, material(f"blade {index:02}", colour, edge=(0.10, 0.03, 0.02)))
        blade.location = (0.0, (index - BLADES / 2) * 0.028, FAN_CENTRE_Z)
        for row, (height, radius) in enumerate(((1.02, 0.050), (1.42, 0.072), (1.86, 0.098))):
            dot = mesh_object(f"dot {index:02} {row}", *prism(disc_outline(0, height, radius), -0.0145, -0.0105), dots)
            dot.parent = blade
        for frame in range(1, FRAME_LAST + 1):
            opened = swing(frame - 2.5 * abs(share - 0.5))
            half = FAN_HALF_ANGLE_CLOSED + (FAN_HALF_ANGLE_OPEN - FAN_HALF_ANGLE_CLOSED) * opened
            blade.rotation_euler = (0.0, half * (2 * share - 1), 0.0)
            blade.keyframe_insert("rotation_euler", frame=frame)
    rivet = mesh_object("rivet", *prism(disc_outline(0, 0, 0.085, 32), -0.26, 0.26), brass)
    rivet.location = (0.0, 0.0, FAN_CENTRE_Z)
    post = mesh_object("post", *prism([(-0.06, 0), (0.06, 0), (0.04, 0.5), (-0.04, 0.5)], 0.20, 0.30), brass)
    post.location = (0.0, 0.0, 0.05)


def make_stage():
    """Planks, a low round platform, footlights and a curtain in folds."""
    chance = random.Random(7)
    woods = [
        material(f"plank {tone}", tuple(channel * shade for channel in PLANK), gloss=0.06)
        for tone, shade in enumerate((0.75, 0.95, 1.15, 1.35))
    ]
    for row in range(-9, 10):
        outline = [(row * 0.72 + dx, dz) for dx, dz in ((-0.352, -0.2), (0.352, -0.2), (0.352, 0.0), (-0.352, 0.0))]
        mesh_object(f"plank {row}", *prism(outline, -6.0, 3.6), chance.choice(woods))

    bpy.ops.mesh.primitive_cylinder_add(vertices=96, radius=1.35, depth=0.10, location=(0, 0, 0.05))
    platform = bpy.context.object
    platform.data.materials.append(material("platform", (0.050, 0.018, 0.016), gloss=0.12))
    bevel = platform.modifiers.new("edge", "BEVEL")
    bevel.width = 0.02
    bevel.segments = 3

    glass = glowing("bulb", (1.0, 0.66, 0.30), 5.0)
    for index in range(11):
        turn = math.pi * (1.06 + 0.88 * index / 10)
        bpy.ops.mesh.primitive_uv_sphere_add(
            segments=20, ring_count=12, radius=0.052, location=(2.15 * math.cos(turn), 2.15 * math.sin(turn), 0.055)
        )
        bulb = bpy.context.object
        bulb.data.materials.append(glass)
        bulb.visible_diffuse = False
        for polygon in bulb.data.polygons:
            polygon.use_smooth = True

    columns = 360
    vertices, faces = [], []
    for column in range(columns + 1):
        x = -9.0 + 18.0 * column / columns
        depth = 3.1 + 0.20 * math.sin(x * 5.2) + 0.07 * math.sin(x * 11.7 + 1.0)
        vertices += [(x, depth, 0.0), (x, depth, 8.0)]
        if column:
            base = 2 * column
            faces.append((base - 2, base, base + 1, base - 1))
    mesh_object("curtain", vertices, faces, material("curtain", CURTAIN, edge=(0.05, 0.0, 0.02)), smooth=True)


def make_petals():
    """Petals that fall and turn while the fan moves."""
    chance = random.Random(11)
    surface = material("petal", (0.75, 0.03, 0.06), edge=(0.12, 0.0, 0.01))
    bend = [
        (-0.09, 0.0, -0.02),
        (0.0, -0.03, -0.09),
        (0.09, 0.0, -0.02),
        (0.07, 0.02, 0.07),
        (0.0, -0.01, 0.11),
        (-0.07, 0.02, 0.07),
    ]
    faces = [(0, 1, 4, 5), (1, 2, 3, 4)]
    for index in range(16):
        petal = mesh_object(f"petal {index:02}", bend, faces, surface, smooth=True)
        x = chance.uniform(1.3, 3.4) * (-1 if index % 2 else 1)
        y, start = chance.uniform(-0.9, 1.6), chance.uniform(0.7, 3.6)
        turn, speed = chance.uniform(0, 6.28), chance.uniform(1.2, 2.6)
        for frame in (1, FRAME_LAST):
            passed = (frame - 1) / FPS
            petal.location = (x + 0.25 * passed, y, start - 0.65 * passed)
            petal.rotation_euler = (turn + speed * passed, turn * 2, turn + 0.7 * speed * passed)
            petal.keyframe_insert("location", frame=frame)
            petal.keyframe_insert("rotation_euler", frame=frame)


def lamp(name, location, energy, colour, radius):
    """A spot lamp at a place, pointed at the fan. A small radius keeps its shadow almost free of noise."""
    data = bpy.data.lights.new(name, "SPOT")
    data.energy = energy
    data.color = colour
    data.spot_size, data.spot_blend, data.shadow_soft_size = math.radians(52), 0.7, radius
    made = bpy.data.objects.new(name, data)
    made.location = location
    bpy.context.scene.collection.objects.link(made)
    point_at(made, (0.0, 0.0, 1.4))


def point_at(thing, aim):
    """Turns a lamp or camera so that it looks at a point."""
    direction = [to - at for to, at in zip(aim, thing.location)]
    flat = math.hypot(direction[0], direction[1])
    pitch = math.atan2(flat, -direction[2])
    thing.rotation_euler = (pitch, 0.0, math.atan2(-direction[0], direction[1]))


def make_lights():
    """A warm spot from the front and a cool one from above and behind."""
    lamp("key", (-3.2, -4.6, 5.4), 2600.0, (1.0, 0.82, 0.62), radius=0.12)
    lamp("rim", (3.2, 1.4, 5.6), 900.0, (0.55, 0.68, 1.0), radius=0.10)
    world = bpy.data.worlds.new("dark")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.0
    bpy.context.scene.world = world


def make_camera():
    """A camera that drifts past the stage while it looks at the fan."""
    data = bpy.data.cameras.new("camera")
    data.lens = 42
    camera = bpy.data.objects.new("camera", data)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    for frame in range(1, FRAME_LAST + 1):
        share = (frame - 1) / (FRAME_LAST - 1)
        turn = math.radians(-14 + 28 * share)
        camera.location = (7.4 * math.sin(turn), -7.4 * math.cos(turn), 1.95)
        point_at(camera, (0.0, 0.0, 1.32))
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)


def set_up_rendering():
    """Size, frames and a Cycles that any CPU can do in a second or two a frame."""
    scene = bpy.context.scene
    scene.name = "tablao"
    scene.frame_start, scene.frame_end = 1, FRAME_LAST
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = 640, 360, 100
    render.fps = FPS
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.use_file_extension = True
    render.filepath = "//frames/######"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = SAMPLES
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.seed = 0
    cycles.use_animated_seed = False
    # Mirrors in the floor are the only thing worth a second ray at this price.
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 1, 0, 1
    cycles.sample_clamp_indirect = 2.0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    # The default differs between versions; this one is in all of them.
    scene.view_settings.view_transform = "Filmic"
    scene.view_settings.exposure = 0.35


def main():
    """Builds the scene and saves it where the command line says."""
    if "--" not in sys.argv or len(sys.argv) <= sys.argv.index("--") + 1:
        sys.exit("usage: blender -b --factory-startup --python make_scene.py -- OUT.blend")
    out = os.path.abspath(sys.argv[sys.argv.index("--") + 1])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # Movement between two keys is even, so the first frame and the last are not slower.
    bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
    set_up_rendering()
    make_stage()
    make_fan()
    make_petals()
    make_lights()
    make_camera()
    bpy.context.preferences.filepaths.save_version = 0
    # Blender prints an error and goes on when a save fails: the file is the proof.
    result = bpy.ops.wm.save_as_mainfile(filepath=out)
    if "FINISHED" not in result or not os.path.exists(out):
        sys.exit(f"could not save {out}")


if __name__ == "__main__":
    main()
