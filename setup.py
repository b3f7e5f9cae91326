"""The part of the build that setup.cfg cannot declare: two shared libraries, which link nothing of Python.

The plugin is installed where VapourSynth autoloads it, the networks' kernels beside the module that loads them.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import vapoursynth
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

from build_backend import c_flags, wheel_platform, zig_target

PLUGIN, KERNELS = "vapoursynth.plugins.videoinr.libvideoinr", "vs_videoinr.networks.libvideoinr_kernels"
ENTRY = "VapourSynthPluginInit2"
ZIG_TARGET = zig_target()
SYSTEM = re.split("[-.]", ZIG_TARGET)[1] if ZIG_TARGET else sys.platform
#: How the kernels are compiled beside that: sums of products in one instruction.
OPTIMISED = {PLUGIN: [], KERNELS: ["-ffp-contract=fast"]}
SUFFIX = {"win32": ".dll", "windows": ".dll", "darwin": ".dylib", "macos": ".dylib"}.get(SYSTEM, ".so")


class BuildLibraries(build_ext):
    """Compile ordinary shared libraries."""

    def get_ext_filename(self, fullname: str) -> str:
        """One name for every Python, as the manifest and the module that loads it say it."""
        return fullname.replace(".", "/") + SUFFIX

    def get_export_symbols(self, ext: Extension) -> list[str]:  # noqa: ARG002
        """On Windows: the plugin's entry instead of a Python module's."""
        return [ENTRY]

    def build_extension(self, ext: Extension) -> None:
        """Compile, put the manifest beside the plugin, or say in one sentence what is missing."""
        # A core unloads its plugins when it goes; callbacks of another core may still be running in this one.
        ext.extra_link_args = ["-pthread", "-Wl,-z,nodelete"] if SYSTEM == "linux" else []
        if ext.name == PLUGIN:
            major, minor = self.distribution.get_version().split(".")[:2]
            ext.define_macros = [("VIDEOINR_MAJOR", major), ("VIDEOINR_MINOR", minor)]
            ext.include_dirs = [vapoursynth.get_include()]
            manifest = Path(self.get_ext_fullpath(ext.name)).with_name("manifest.vs")
            manifest.parent.mkdir(parents=True, exist_ok=True)
            manifest.write_text(f"[VapourSynth Manifest V1]\n{PLUGIN.split('.')[-1]}\n", encoding="ascii")
        if ZIG_TARGET:
            self._build_with_zig(ext, ZIG_TARGET)
        elif (
            ext.name == PLUGIN or self.compiler.compiler_type != "msvc"
        ):  # which has no vectors: PyTorch does that work
            self._build_with_own_compiler(ext)

    def _build_with_own_compiler(self, ext: Extension) -> None:
        ext.extra_compile_args = [*c_flags(self.compiler.compiler_type), *OPTIMISED[ext.name]]
        if sanitizer := os.environ.get("VIDEOINR_SANITIZE"):  # address or thread: see docs/RELIABILITY.md
            flags = [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer", "-g"]
            ext.extra_compile_args += flags
            ext.extra_link_args += flags
        elif SYSTEM == "linux":
            ext.extra_link_args.append("-s")
        try:
            super().build_extension(ext)
        except (CCompilerError, ExecError, PlatformError) as error:
            raise SystemExit(
                "vapoursynth-videoinr needs a C compiler to build its VapourSynth entry, and none that works was found "
                f"({error}); install one (Debian, Ubuntu: apt install gcc libc6-dev) or use a ready-made wheel."
            ) from None

    def _build_with_zig(self, ext: Extension, target: str) -> None:
        output = Path(self.get_ext_fullpath(ext.name)).absolute()
        output.parent.mkdir(parents=True, exist_ok=True)
        work = Path(self.build_temp).absolute()
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *c_flags("unix"), *OPTIMISED[ext.name]]
        command += ["-g0", "-s", "-shared"]
        command += shlex.split(os.environ.get("CFLAGS", ""))
        command += [f"-D{name}={value}" for name, value in ext.define_macros]
        command += [f"-I{folder}" for folder in ext.include_dirs]
        command += [str(Path(source).absolute()) for source in ext.sources]
        command += [*ext.extra_link_args, "-o", output.name]
        # Here, for the libraries of macOS hold the path that they were written to, and those of Windows leave a .lib.
        done = subprocess.run(command, cwd=work, env={"ZIG_GLOBAL_CACHE_DIR": str(work / "zig"), **os.environ})
        if done.returncode:
            raise SystemExit(f"vapoursynth-videoinr: zig cc did not compile its VapourSynth entry for {target}.")
        (work / output.name).replace(output)

    def get_outputs(self) -> list[str]:
        """What is installed: the libraries that were built, and the plugin's manifest."""
        manifest = Path(self.get_ext_fullpath(PLUGIN)).with_name("manifest.vs")
        return [*filter(os.path.exists, super().get_outputs()), str(manifest)]


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """The library links nothing of Python, so only the platform counts."""
        return "py3", "none", wheel_platform() or super().get_tag()[2]


def library(name: str, folder: str) -> Extension:
    """A library of the C files in a folder."""
    native = Path(folder, "native")
    return Extension(name, sorted(map(str, native.glob("*.c"))), depends=sorted(map(str, native.glob("*.h"))))


setup(
    ext_modules=[library(PLUGIN, "vs_videoinr/plugin"), library(KERNELS, "vs_videoinr/networks")],
    cmdclass={"build_ext": BuildLibraries, "bdist_wheel": PlatformWheel},
)
