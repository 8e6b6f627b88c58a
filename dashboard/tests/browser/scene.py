# SPDX-License-Identifier: GPL-3.0-or-later
# Makes the scene that the browser test renders: a tiny animated Cycles scene, six frames, no denoiser
# (some builds of Blender come without one).
#
# Use: blender -b --factory-startup --python scene.py -- OUT.blend
import sys

import bpy

out = sys.argv[sys.argv.index("--") + 1]
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.samples = 8
scene.cycles.use_denoising = False
scene.render.resolution_x = 192
scene.render.resolution_y = 108
scene.render.resolution_percentage = 100
scene.render.image_settings.file_format = "PNG"
scene.frame_start = 1
scene.frame_end = 6

cube = bpy.data.objects["Cube"]
material = bpy.data.materials["Material"]
material.diffuse_color = (0.9, 0.45, 0.15, 1)
material.use_nodes = True
material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.9, 0.35, 0.08, 1)
for frame, turn in ((1, 0.0), (6, 1.4)):
    cube.rotation_euler[2] = turn
    cube.keyframe_insert("rotation_euler", frame=frame)

bpy.ops.wm.save_as_mainfile(filepath=out)
