# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws a panel or a dialogue without a window, and gives the texts.

Without a window Blender draws nothing, so a stand-in takes the place of its layout. It knows no
names of its own: each is looked up in this Blender.
"""

from __future__ import annotations

import types
import unittest

import bpy


def drawn(case: unittest.TestCase, kind: type, **fields: object) -> str:
    """Draws into a layout that checks every name against this Blender; returns all texts.

    `fields` are what the panel or operator has besides its layout.
    """
    texts: list[str] = []
    functions = bpy.types.UILayout.bl_rna.functions
    icons = functions["label"].parameters["icon"].enum_items.keys()

    class Layout:
        def _same(self, **_: object) -> Layout:
            return self

        row = column = split = _same

        def check(self, function: str, arguments: dict[str, object]) -> None:
            known = functions[function].parameters.keys()
            case.assertLessEqual(set(arguments), set(known), function)
            case.assertIn(arguments.get("icon", "NONE"), icons)

        def label(self, **arguments: object) -> None:
            self.check("label", arguments)
            texts.append(str(arguments.get("text", "")))

        def prop(self, owner: object, name: str, **arguments: object) -> None:
            self.check("prop", arguments)
            if isinstance(owner, bpy.types.bpy_struct):
                property_of = owner.bl_rna.properties[name]
                alert = "!" if getattr(self, "alert", False) else ""
                texts.append(alert + str(arguments.get("text", property_of.name)))
            getattr(owner, name)

        def operator(self, name: str, **arguments: object) -> types.SimpleNamespace:
            self.check("operator", arguments)
            namespace, operator = name.split(".")
            getattr(getattr(bpy.ops, namespace), operator).get_rna_type()
            texts.append(str(arguments.get("text", "")))
            return types.SimpleNamespace()

    if "progress" in functions.keys():

        def progress(self: Layout, **arguments: object) -> None:
            self.check("progress", arguments)
            texts.append(str(arguments.get("text", "")))

        Layout.progress = progress
    kind.draw(types.SimpleNamespace(layout=Layout(), **fields), bpy.context)
    return " ".join(texts)
