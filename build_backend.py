"""The build backend: setuptools', with a C compiler from PyPI where the machine has none that works.

That compiler is Zig's (`zig cc`), which brings the C libraries of all systems along. So scripts/wheels.py builds every
platform's wheel with it on one machine: it names the platform in VIDEOINR_PLATFORM.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - all of its hooks, but for the two below
from setuptools.command import build_ext
from setuptools.errors import BaseError, CCompilerError

#: What `zig cc` is to build for, by the wheel's platform tag: where there are VapourSynth and PyTorch.
ZIG_TARGETS = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "win_amd64": "x86_64-windows-gnu",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
}

# Of those, the one that each machine is, by sys.platform and platform.machine().
_MACHINES = {
    ("linux", "x86_64"): "manylinux_2_17_x86_64",
    ("linux", "aarch64"): "manylinux_2_17_aarch64",
    ("win32", "AMD64"): "win_amd64",
    ("darwin", "arm64"): "macosx_11_0_arm64",
}

# What the plugin needs of a C compiler: threads' atomics, and a C library to link.
_TRIAL = """
#include <stdatomic.h>
#include <stdlib.h>
static _Atomic(void *) block;
int main(void) { atomic_store(&block, malloc(1)); return atomic_load(&block) == NULL; }
"""


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what pip is to install for a build: Zig as well, if nothing else compiles C here."""
    needs = build_meta.get_requires_for_build_wheel(config_settings)
    return [*needs, "ziglang>=0.13"] if _wants_zig() else needs


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Return the same for an editable installation."""
    return get_requires_for_build_wheel(config_settings)


def zig_target() -> str | None:
    """Return what `zig cc` is to build for, or None where the machine's own compiler builds."""
    if tag := wheel_platform():
        return ZIG_TARGETS[tag]
    return _own_target() if _wants_zig() and importlib.util.find_spec("ziglang") else None


def wheel_platform() -> str | None:
    """Return the platform tag of the wheel that scripts/wheels.py is building, or None in any other build."""
    return os.environ.get("VIDEOINR_PLATFORM")


def c_flags(compiler_type: str) -> list[str]:
    """Return the arguments with which a compiler, by setuptools' name of its type, compiles the plugin."""
    if compiler_type == "msvc":
        return ["/std:c11", "/experimental:c11atomics", "/O2", "/W3"]
    return ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"]


def _wants_zig() -> bool:
    # Somebody who names a compiler wants to learn that it does not work.
    return wheel_platform() is None and "CC" not in os.environ and _own_target() is not None and not _compiles()


def _own_target() -> str | None:
    tag = _MACHINES.get((sys.platform, platform.machine()))
    return ZIG_TARGETS[tag] if tag else None


def _compiles() -> bool:
    compiler = build_ext.new_compiler()
    build_ext.customize_compiler(compiler)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "trial.c")
        source.write_text(_TRIAL, encoding="ascii")
        try:
            objects = compiler.compile([str(source)], folder, extra_postargs=c_flags(compiler.compiler_type))
            compiler.link_executable(objects, "trial", folder)
        except (CCompilerError, BaseError):
            return False
    return True
