# SPDX-License-Identifier: GPL-3.0-or-later
"""The farm's address and token: where they come from, and the preferences that hold them.

A script may name an address itself; else TABLAO_URL and TABLAO_TOKEN from the environment win over
the stored preferences, as a render script on a build machine expects. Makes clients, asks nothing.
"""

import os

import bpy

from .tablao_client import DEFAULT_URL, Client


class TablaoPreferences(bpy.types.AddonPreferences):
    """What a person sets once: which farm, and who they are to it."""

    bl_idname = __package__

    farm_url: bpy.props.StringProperty(
        name="Farm",
        description="Address of the Tablao Manager or Server",
        default=DEFAULT_URL,
    )
    token: bpy.props.StringProperty(
        name="Token",
        description="Only for a farm with authentication: a token made with 'tablao tokens create'",
        default="",
        subtype="PASSWORD",
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draws the add-on's part of Blender's preferences."""
        layout = self.layout
        layout.prop(self, "farm_url")
        layout.prop(self, "token")
        if os.environ.get("TABLAO_URL"):
            layout.label(text=f"TABLAO_URL is set and wins: {farm_url()}", icon="INFO")
        layout.operator("tablao.refresh", icon="FILE_REFRESH")


def _stored() -> TablaoPreferences | None:
    """The stored preferences; there are none when a script imported and registered the package."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def farm_url() -> str:
    """The address to use where nobody names one."""
    stored = _stored()
    return os.environ.get("TABLAO_URL") or (stored.farm_url if stored else "") or DEFAULT_URL


def farm_client(url: str = "", **options: object) -> Client:
    """A client for the named farm, or for the one that is set."""
    stored = _stored()
    token = os.environ.get("TABLAO_TOKEN") or (stored.token if stored else "")
    agent = f"Blender add-on; Blender {bpy.app.version_string}"
    return Client(url or farm_url(), token=token, agent=agent, **options)


def register() -> None:
    """Makes the preferences known to Blender."""
    bpy.utils.register_class(TablaoPreferences)


def unregister() -> None:
    """Takes them back."""
    bpy.utils.unregister_class(TablaoPreferences)
