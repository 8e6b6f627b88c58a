# SPDX-License-Identifier: GPL-3.0-or-later
"""The Tablao add-on: sends the open Blender file to a farm and follows the job.

Works as an add-on in Blender 3.4 to 4.1, as an extension from 4.2 on, and inside the `bpy`
module. This file only registers the parts; each part's duty is in its own module.
"""

from . import (
    job_types,
    operators,
    panel,
    preferences,
    regeneration,
    scene_properties,
    submitted,
    watch,
)

bl_info = {
    "name": "Tablao",
    "author": "The Tablao developers",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "Output Properties > Tablao",
    "description": "Send the open file to a Tablao render farm and follow the job",
    "category": "Render",
}

# In the order of their dependence: the panel draws what the others have registered.
_PARTS = (
    preferences,
    job_types,
    submitted,
    scene_properties,
    operators,
    regeneration,
    panel,
    watch,
)


def register() -> None:
    """Called by Blender, or by a script that imported this package with the bpy module."""
    for part in _PARTS:
        part.register()


def unregister() -> None:
    """Takes everything back, the last first."""
    for part in reversed(_PARTS):
        part.unregister()
