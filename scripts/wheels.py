"""Build every platform's wheel and the sdist, check them, and print what they are: python -m scripts.wheels.

Needs `pip install '.[release]'` and runs in the checkout's root. The libraries of all platforms are compiled on this
machine, by Zig. The same files and the same tools make the same bytes. With --release the commit has to be a release:
clean, tagged with the version that setup.cfg gives it, and described in CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import lief

from build_backend import ZIG_TARGETS
from scripts import ROOT

FOLDER = "vapoursynth/plugins/videoinr"
ENTRY = "VapourSynthPluginInit2"

#: The networks' kernels, and what they are called: each once per variant, of which only x86-64 has a second one.
KERNELS = "vs_videoinr/networks/libvideoinr_kernels"
FUNCTIONS = (
    "clues",
    "correlate",
    "correlate_means",
    "correlate_scratch",
    "decode_colours",
    "decode_flow",
    "flows_at",
    "lanes",
    "lucas_kanade_accept",
    "lucas_kanade_scratch",
    "lucas_kanade_solve",
    "lucas_kanade_start",
    "pack_frame",
    "smooth_directions",
    "smooth_places",
    "smooth_scratch",
    "tile",
    "warp",
    "warp_and_blend",
)

#: The oldest systems that the wheels' tags promise to get by with.
OLDEST = {"glibc": (2, 17), "Windows": (10,), "macOS": (11, 0)}


class ReleaseError(Exception):
    """Something is not as it has to be; the message is for whoever releases."""


@dataclass(frozen=True)
class Library:
    """What a shared library offers, and what it asks of the system that loads it."""

    exports: list[str]
    imports: list[str]
    machine: str  # as Zig calls it
    system: str  # a key of OLDEST
    oldest: tuple[int, ...]


def main() -> None:
    """Read the command line, build, check and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="store_true", help="refuse a commit that is not a tagged release")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the files (default: dist)")
    parser.add_argument(
        "--platform", action="append", choices=ZIG_TARGETS, help="only this platform's wheel (may be repeated)"
    )
    arguments = parser.parse_args()
    try:
        if arguments.release:
            check_release()
        files = build(arguments.output.resolve(), arguments.platform or list(ZIG_TARGETS))
        for file in files:
            print(describe(file))
        run(sys.executable, "-m", "twine", "check", "--strict", *files)
    except ReleaseError as error:
        raise SystemExit(f"wheels: {error}") from None


def check_release() -> None:
    """Raise ReleaseError unless the commit is a release."""
    if git("status", "--porcelain"):
        raise ReleaseError("the checkout has changes that are not committed; commit or remove them first")
    tag = f"v{version()}"
    if tag not in git("tag", "--points-at", "HEAD").split():
        raise ReleaseError(f"the commit is not tagged {tag}, as the version in setup.cfg has it; tag it first")
    heading = rf"^## \[{re.escape(version())}\] - \d{{4}}-\d{{2}}-\d{{2}}$"
    if not re.search(heading, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        raise ReleaseError(f"CHANGELOG.md has no heading '## [{version()}] - YYYY-MM-DD'; write it first")


def build(output: Path, platforms: Iterable[str]) -> list[Path]:
    """Leave the sdist and a wheel for each platform in `output`, in place of older ones; return their paths."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch}
    environment.pop("CFLAGS", None)
    output.mkdir(parents=True, exist_ok=True)
    for old in [*output.glob("vapoursynth_videoinr-*.whl"), *output.glob("vapoursynth_videoinr-*.tar.gz")]:
        old.unlink()
    os.umask(0o022)  # files keep their modes in wheels
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
            if (ROOT / name).is_file():  # not one that has been removed from the checkout only
                (work / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, work / "checkout" / name)
        package("--sdist", work / "checkout", work, environment)
        (made,) = work.glob("*.tar.gz")
        sdist = output / made.name
        sdist.write_bytes(_reproducible(made, int(epoch)))
        environment.setdefault("ZIG_GLOBAL_CACHE_DIR", str(work / "zig"))
        for platform in platforms:  # from the sdist, so that it is known to hold all that is needed
            with tarfile.open(sdist) as archive:
                archive.extractall(work / platform, filter="data")
            (source,) = (work / platform).iterdir()
            package("--wheel", source, output, environment | {"VIDEOINR_PLATFORM": platform})
    return [sdist, *sorted(output.glob("vapoursynth_videoinr-*.whl"))]


def package(kind: str, source: Path, output: Path, environment: dict[str, str]) -> None:
    """Run the build backend on a folder in this environment."""
    run(sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", output, source, environment=environment)


def _reproducible(sdist: Path, epoch: int) -> bytes:
    """Return an sdist with nothing in it of when, where and by whom it was made."""
    packed = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        gzip.GzipFile("", "wb", fileobj=packed, mtime=epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old, key=lambda member: member.name):
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.size, plain.mtime = member.type, member.size, epoch
            plain.mode = 0o644 if member.isfile() else 0o755
            new.addfile(plain, old.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def describe(file: Path) -> str:
    """Return a line on a wheel or an sdist; raises ReleaseError if it is not as it has to be."""
    start = f"{file.name:68} {file.stat().st_size / 1e6:5.1f} MB"
    if file.suffix != ".whl":
        return start
    platform = file.stem.split("-")[-1]
    with zipfile.ZipFile(file) as wheel, tempfile.TemporaryDirectory() as temporary:
        names = wheel.namelist()
        inside = sorted(name for name in names if name.startswith(f"{FOLDER}/"))
        plugins = [name for name in inside if not name.endswith("manifest.vs")]
        kernels = [name for name in names if name.startswith(KERNELS)]
        expect(file, "files beside the library", inside, [*plugins[:1], f"{FOLDER}/manifest.vs"])
        stem = Path(plugins[0]).stem
        expect(file, "manifest", wheel.read(f"{FOLDER}/manifest.vs"), f"[VapourSynth Manifest V1]\n{stem}\n".encode())
        expect(file, "the kernels", kernels, [KERNELS + Path(plugins[0]).suffix])
        (about,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
        tags = re.findall(r"^Tag: (.+)$", wheel.read(about).decode(), re.MULTILINE)
        expect(file, "tag", tags, [f"py3-none-{platform}"])
        plugin, kernel = (read_library(Path(wheel.extract(name, temporary))) for name in (plugins[0], kernels[0]))
    expect(file, "exported symbols", plugin.exports, [ENTRY])
    expect(file, "exported kernels", sorted(kernel.exports), kernel_exports(kernel.machine))
    for library in (plugin, kernel):
        expect(file, "processor", library.machine, ZIG_TARGETS[platform].split("-")[0])
        strangers = [name for name in library.imports if not _OF_THE_SYSTEM.fullmatch(name)]
        expect(file, "libraries that are not the system's", strangers, [])
        expect(file, "the oldest system", max(library.oldest, OLDEST[library.system]), OLDEST[library.system])
    needs = f"{plugin.system} {'.'.join(map(str, max(plugin.oldest, kernel.oldest)))}"
    imports = sorted({*plugin.imports, *kernel.imports})
    return f"{start}  {needs:12}  exports {ENTRY} and {len(kernel.exports)} kernels, imports {', '.join(imports)}"


def kernel_exports(machine: str) -> list[str]:
    """Return what the library of the kernels exports for a processor, sorted."""
    variants = ("baseline", "avx2") if machine == "x86_64" else ("baseline",)
    return sorted(["kernels_version", *(f"{name}_{variant}" for name in FUNCTIONS for variant in variants)])


_OF_THE_SYSTEM = re.compile(
    r"lib(c|dl|m|pthread)\.so\.\d"  # glibc
    r"|kernel32\.dll|api-ms-win-crt-\*\.dll"  # every Windows since 10, and older ones with updates
    r"|/usr/lib/libSystem\.B\.dylib",
    re.IGNORECASE,
)


def read_library(path: Path) -> Library:
    """Return what a shared library of any system exports and imports; raises ReleaseError if it is none of ours."""
    lief.logging.disable()  # it remarks on what Zig leaves out
    library = lief.parse(str(path))
    if isinstance(library, lief.ELF.Binary):
        return _read_elf(path, library)
    if isinstance(library, lief.PE.Binary):
        return _read_pe(library)
    if isinstance(library, lief.MachO.Binary):
        return _read_macho(path, library)
    raise ReleaseError(f"{path.name} is no shared library")


def _read_elf(path: Path, library: lief.ELF.Binary) -> Library:
    machines = {lief.ELF.ARCH.X86_64: "x86_64", lief.ELF.ARCH.AARCH64: "aarch64"}
    needs = library.symbols_version_requirement
    versions = [re.findall(r"\d+", str(symbol.name)) for need in needs for symbol in need.get_auxiliary_symbols()]
    flags = library.get(lief.ELF.DynamicEntry.TAG.FLAGS_1)
    if not isinstance(flags, lief.ELF.DynamicEntryFlags) or not flags.has(lief.ELF.DynamicEntryFlags.FLAG.NODELETE):
        raise ReleaseError(f"{path.name} would be unloaded while callbacks may still run in it (no -z nodelete)")
    return Library(
        [str(symbol.name) for symbol in library.exported_symbols],
        [str(name) for name in library.libraries],
        machines.get(library.header.machine_type, "unknown"),
        "glibc",
        max(tuple(map(int, numbers)) for numbers in versions),
    )


def _read_pe(library: lief.PE.Binary) -> Library:
    machines = {lief.PE.Header.MACHINE_TYPES.AMD64: "x86_64"}
    return Library(
        [str(entry.name) for entry in library.exported_functions],
        sorted({re.sub(r"(api-ms-win-crt)-.*", r"\1-*.dll", str(entry.name)) for entry in library.imports}),
        machines.get(library.header.machine, "unknown"),
        "Windows",
        (10,),  # as old as the C library that it imports
    )


def _read_macho(path: Path, library: lief.MachO.Binary) -> Library:
    if not library.has_code_signature:
        raise ReleaseError(f"{path.name} is not signed, so that no Mac would load it")
    machines = {lief.MachO.Header.CPU_TYPE.ARM64: "aarch64"}
    linkers_own = {"__mh_dylib_header", "___dso_handle"}
    exports = {str(symbol.name) for symbol in library.exported_symbols} - linkers_own
    loaded = [entry for entry in library.libraries if entry.command == lief.MachO.LoadCommand.TYPE.LOAD_DYLIB]
    about = library.build_version
    return Library(
        sorted(name.removeprefix("_") for name in exports),
        [str(entry.name) for entry in loaded],
        machines.get(library.header.cpu_type, "unknown"),
        "macOS",
        tuple(about.minos[:2]) if about else (),
    )


def expect(file: Path, what: str, found: object, expected: object) -> None:
    """Raise ReleaseError unless a file has what it has to have."""
    if found != expected:
        raise ReleaseError(f"{file.name}: {what}: {found}, not {expected}")


def version() -> str:
    """Return the version of the package."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["metadata"]["version"]


def git(*arguments: str) -> str:
    """Return what git prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a command whose output matters only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    if done.returncode:
        name = " ".join(map(str, command[1:4]))
        raise ReleaseError(f"{name} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
