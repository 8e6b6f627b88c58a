# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs the add-on zip into the running Blender the way TABLAO_INSTALL names.

`add-on` and `extension` are Blender's own two ways; `import` is what a script does that uses the
bpy module: unpack, import, `register()`.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import addon_utils
import bpy


def install_add_on(zip_file: Path) -> str:
    """Installs and switches on; returns the name of the package as Blender knows it."""
    way = os.environ.get("TABLAO_INSTALL", "import")
    if way == "add-on":
        if importlib.util.find_spec("tablao") is None:
            bpy.ops.preferences.addon_install(filepath=str(zip_file))
        return _switch_on("tablao")
    if way == "extension":
        if "bl_ext.user_default.tablao" not in sys.modules:
            bpy.ops.extensions.package_install_files(
                filepath=str(zip_file), repo="user_default", enable_on_install=False
            )
        return _switch_on("bl_ext.user_default.tablao")
    if "tablao" not in sys.modules:
        folder = tempfile.mkdtemp(prefix="tablao-addon-")
        with zipfile.ZipFile(zip_file) as archive:
            archive.extractall(folder)
        sys.path.insert(0, folder)
    importlib.import_module("tablao").register()
    return "tablao"


def _switch_on(package: str) -> str:
    """Switches an installed add-on on, or fails with what Blender said."""
    if addon_utils.enable(package, default_set=True) is None:
        raise RuntimeError(f"Blender could not switch on {package}; see above")
    if package not in bpy.context.preferences.addons:
        raise RuntimeError(f"{package} is on, but has no preferences")
    return package
