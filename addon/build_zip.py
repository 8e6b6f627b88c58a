#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the add-on zip, with the client inside, byte for byte the same from the same sources.

Usage: build_zip.py [FILE.zip]; without an argument `target/tablao-addon.zip` beside the sources'
root. One zip serves Blender 3.4 (as an add-on) and 4.2 and newer (as an extension).
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT_OUTPUT = HERE.parent / "target" / "tablao-addon.zip"
SUFFIXES = (".py", ".toml")
FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: when a file was checked out must not show."""


def files_to_pack() -> Iterator[tuple[str, Path]]:
    """Each file with its name in the zip, in one order on every machine."""
    found = {}
    for folder, inside in (
        (HERE / "tablao", "tablao"),
        (HERE / "tablao_client", "tablao/tablao_client"),
    ):
        for path in folder.rglob("*"):
            if path.suffix in SUFFIXES and "__pycache__" not in path.parts:
                found[f"{inside}/{path.relative_to(folder).as_posix()}"] = path
    licence = HERE.parent / "LICENSE"
    if licence.is_file():
        found["tablao/LICENSE"] = licence
    yield from sorted(found.items())


def build(output: Path) -> None:
    """Writes the zip beside its name and moves it there when it is whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(output.name + ".new")
    with zipfile.ZipFile(beside, "w") as archive:
        for name, path in files_to_pack():
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            # Stored, because what a compressor makes of the same bytes depends on its version.
            entry.compress_type = zipfile.ZIP_STORED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes().replace(b"\r\n", b"\n"))
    beside.replace(output)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the add-on zip, reproducibly.")
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT)
    output = parser.parse_args().output
    build(output)
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
