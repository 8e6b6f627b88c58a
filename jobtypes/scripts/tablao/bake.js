// SPDX-License-Identifier: GPL-3.0-or-later
// Python that bakes the simulations of a scene, one kind at a time, into files beside the scene.
// A helper module, no job type.
"use strict";

// In the order in which one may push the other.
const KINDS = ["rigid_body", "cloth", "particles", "fluid", "geometry_nodes"];

const COMMON = `
import bpy, os, sys
scene = bpy.context.scene
place = sys.argv[sys.argv.index('--tablao-bake') + 1]

def say(*words):
    print('bake:', *words, flush=True)

def point_caches():
    world = scene.rigidbody_world
    if world and world.enabled:
        yield 'rigid_body', 'the rigid body world', None, world.point_cache
    for thing in scene.objects:
        for modifier in thing.modifiers:
            if modifier.type in ('CLOTH', 'SOFT_BODY'):
                yield 'cloth', thing.name + ' ' + modifier.name, thing, modifier.point_cache
        for system in thing.particle_systems:
            yield 'particles', thing.name + ' ' + system.name, thing, system.point_cache

def domains():
    for thing in scene.objects:
        for modifier in thing.modifiers:
            if modifier.type == 'FLUID' and modifier.fluid_type == 'DOMAIN':
                yield thing, modifier.domain_settings

def node_modifiers():
    for thing in scene.objects:
        for modifier in thing.modifiers:
            if modifier.type == 'NODES' and len(getattr(modifier, 'bakes', ())) > 0:
                yield thing, modifier

def folder_of(kind, name):
    return '//' + kind + '_' + bpy.path.clean_name(name)
`;

// Saves the scene under its new name and points all its caches to files beside it.
const PREPARE = `
os.makedirs(os.path.dirname(place), exist_ok=True)
bpy.context.preferences.filepaths.save_version = 0
bpy.ops.wm.save_as_mainfile(filepath=place, check_existing=False, relative_remap=True)
for kind, name, thing, cache in point_caches():
    # Blender knows no files for rigid bodies: what is baked of them is saved in the scene itself.
    if kind != 'rigid_body':
        cache.use_disk_cache = True
    cache.frame_start, cache.frame_end = first, last
for thing, domain in domains():
    domain.cache_directory = folder_of('fluid', thing.name)
    domain.cache_type = 'ALL'
    domain.cache_frame_start, domain.cache_frame_end = first, last
for thing, modifier in node_modifiers():
    modifier.bake_directory = folder_of('nodes', thing.name + ' ' + modifier.name)
    for bake in modifier.bakes:
        bake.use_custom_path = False
        bake.use_custom_simulation_frame_range = True
        bake.frame_start, bake.frame_end = first, last
        if hasattr(bake, 'bake_target'):
            bake.bake_target = 'DISK'
bpy.ops.wm.save_mainfile()
say('the scene is', place)
`;

const BAKE_POINTS = `
for kind, name, thing, cache in point_caches():
    if kind != wanted:
        continue
    say(name, 'frames', cache.frame_start, 'to', cache.frame_end)
    known = dict(scene=scene, point_cache=cache)
    if thing is not None:
        known.update(object=thing, active_object=thing)
    with bpy.context.temp_override(**known):
        if cache.is_baked:
            bpy.ops.ptcache.free_bake()
        bpy.ops.ptcache.bake(bake=True)
    if not cache.is_baked:
        raise RuntimeError('Blender did not bake ' + name)
    baked.append(name)
`;

const BAKE_FLUID = `
for thing, domain in domains():
    say(thing.name, 'frames', domain.cache_frame_start, 'to', domain.cache_frame_end)
    bpy.context.view_layer.objects.active = thing
    with bpy.context.temp_override(scene=scene, object=thing, active_object=thing):
        if domain.has_cache_baked_any:
            bpy.ops.fluid.free_all()
        bpy.ops.fluid.bake_all()
    if not domain.has_cache_baked_data:
        raise RuntimeError('Blender did not bake ' + thing.name)
    baked.append(thing.name)
`;

const BAKE_NODES = `
if any(node_modifiers()):
    bpy.ops.object.simulation_nodes_cache_bake(selected=False)
for thing, modifier in node_modifiers():
    files = bpy.path.abspath(modifier.bake_directory)
    if not os.path.isdir(files) or not os.listdir(files):
        raise RuntimeError('Blender did not bake ' + thing.name + ' ' + modifier.name)
    baked.append(thing.name + ' ' + modifier.name)
`;

function bodyOf(kind) {
  switch (kind) {
    case "fluid": return BAKE_FLUID;
    case "geometry_nodes": return BAKE_NODES;
    default: return BAKE_POINTS;
  }
}

// Lines of Python: saves a copy whose caches are files.
function pythonToPrepare([first, last], overrides) {
  return [...COMMON.split("\n"), ...overrides, `first, last = ${first}, ${last}`, ...PREPARE.split("\n")];
}

// Lines of Python: bakes one kind in the copy and saves that it is baked.
function pythonToBake(kind) {
  return [
    ...COMMON.split("\n"),
    `wanted, baked = '${kind}', []`,
    ...bodyOf(kind).split("\n"),
    "bpy.context.preferences.filepaths.save_version = 0",
    "say(wanted, 'done:', ', '.join(baked) if baked else 'there is none in this scene')",
    "bpy.ops.wm.save_mainfile()",
  ];
}

module.exports = { KINDS, pythonToPrepare, pythonToBake };
