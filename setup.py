"""The part of the build that setup.cfg cannot declare: the native entry, installed where VapourSynth autoloads it."""

import os
import sys
from pathlib import Path

import vapoursynth
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

LIBRARY = "libvideoinr"
NATIVE = Path("vs_videoinr/plugin/native")
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


class BuildPlugin(build_ext):
    """Compile the VapourSynth plugin: an ordinary shared library which links nothing of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """One name for every Python, as the manifest says it."""
        return "/".join([*fullname.split(".")[:-1], LIBRARY + SUFFIX])

    def get_export_symbols(self, ext: Extension) -> list[str]:  # noqa: ARG002
        """On Windows: the plugin's entry instead of a Python module's."""
        return ["VapourSynthPluginInit2"]

    def build_extension(self, ext: Extension) -> None:
        """Compile, put the manifest beside the library, or say in one sentence what is missing."""
        major, minor = self.distribution.get_version().split(".")[:2]
        ext.define_macros = [("VIDEOINR_MAJOR", major), ("VIDEOINR_MINOR", minor)]
        ext.include_dirs = [vapoursynth.get_include()]
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = ["/std:c11", "/experimental:c11atomics", "/O2", "/W3"]
        else:
            ext.extra_compile_args = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"]
        if sys.platform.startswith("linux"):
            # A core unloads its plugins when it goes; callbacks of another core may still be running in this one.
            ext.extra_link_args = ["-Wl,-z,nodelete"]
            if sanitizer := os.environ.get("VIDEOINR_SANITIZE"):  # address or thread: see docs/RELIABILITY.md
                flags = [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer", "-g"]
                ext.extra_compile_args += flags
                ext.extra_link_args += flags
            else:
                ext.extra_link_args.append("-s")
        try:
            super().build_extension(ext)
        except (CCompilerError, ExecError, PlatformError) as error:
            raise SystemExit(
                "vapoursynth-videoinr needs a C compiler to build its VapourSynth entry, and none that works was found "
                f"({error}); install one (Debian, Ubuntu: apt install gcc libc6-dev) or use a ready-made wheel."
            ) from None
        manifest = Path(self.get_ext_fullpath(ext.name)).with_name("manifest.vs")
        manifest.write_text(f"[VapourSynth Manifest V1]\n{LIBRARY}\n", encoding="ascii")

    def get_outputs(self) -> list[str]:
        """What is installed: the library and its manifest."""
        outputs = super().get_outputs()
        return [*outputs, *(str(Path(path).with_name("manifest.vs")) for path in outputs)]


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """The library links nothing of Python, so only the platform counts."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "vapoursynth.plugins.videoinr.libvideoinr",
            sorted(str(path) for path in Path("vs_videoinr/plugin/native").glob("*.c")),
        )
    ],
    cmdclass={"build_ext": BuildPlugin, "bdist_wheel": PlatformWheel},
)
