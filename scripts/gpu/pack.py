"""Put what a machine needs that gets nothing else into .gpu/: python -m scripts.gpu.pack plugin | data DATA [RUN].

plugin  to test and measure there: the checkout as a wheel, and what its tests and the benchmark need, in .gpu/plugin
data    to train there: photographs, training clips (long ones cut) and validation clips from DATA in .gpu/data, and
        the state of RUN in parts, where there is one, to go on from, in .gpu/state

Both need .gpu/packages: PyAV, which decodes clips. It is sent with the plugin, or before the data: together with the
repository's own files, what is sent at a time is to be within 64 MiB.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av

from scripts import ROOT, command

PACK = ROOT / ".gpu"
MAX_SENT_BYTES = 64 << 20
MAX_CLIP_BYTES = 1_350_000
PART_BYTES = 15 << 20

#: What the plugin, its tests on a GPU and the benchmark need beside PyTorch, NumPy and PyAV.
PLUGIN_NEEDS = (
    "vapoursynth",
    "vapoursynth-mvtools",
    "open-svpflow",
    "vsjetengine",
    "platformdirs",
    "pytest",
    "pluggy",
    "iniconfig",
    "pytest-xdist",
    "execnet",
    "hypothesis",
    "sortedcontainers",
)


def cut(clip: Path, target: Path, limit: int) -> None:
    """Copy the beginning of a clip, at most `limit` bytes of its video; nothing is encoded again, no frame left out."""
    with av.open(clip) as source, av.open(target, "w") as result:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.pts is not None]
        times = [packet.pts or 0 for packet in packets]
        count, size = 0, 0
        while count < len(packets) and size + packets[count].size <= limit:
            size += packets[count].size
            count += 1
        # packets come in the order of decoding: frames shown before the last of those kept are not to be missing
        while 0 < count < len(packets) and max(times[:count]) > min(times[count:]):
            count -= 1
        copy = result.add_stream_from_template(stream)
        for packet in packets[:count]:
            packet.stream = copy
            result.mux(packet)


def _emptied(name: str) -> Path:
    """A folder of the pack with nothing in it."""
    folder = PACK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _download(folder: Path, *packages: str) -> None:
    """Put the wheels of packages, without what they need, into a folder."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps"]
    subprocess.run([*download, "--dest", folder, *packages], check=True)


def _own_files() -> list[str]:
    """What is in the checkout and not ignored by git."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in found if (ROOT / name).is_file()]


def pack_plugin(_: argparse.Namespace) -> None:
    """Fill the folder of what is tested and measured."""
    folder = _emptied("plugin")
    _download(folder, *PLUGIN_NEEDS)
    with tempfile.TemporaryDirectory() as temporary:  # setuptools leaves what it builds beside the sources
        for name in _own_files():
            copy = Path(temporary, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
        subprocess.run([*build, folder, temporary], check=True)


def pack_data(arguments: argparse.Namespace) -> None:
    """Fill the folders of what is trained on and gone on from."""
    data, run = arguments.data, arguments.run
    folder = _emptied("data")
    for source, pattern, name in (("train/photos", "*.jpg", "photos"), ("val", "*.mp4", "val")):
        (folder / name).mkdir()
        for path in (data / source).glob(pattern):
            shutil.copy(path, folder / name)
    (folder / "clips").mkdir()
    for path in (data / "train" / "clips").glob("*.mp4"):
        cut(path, folder / "clips" / path.name, MAX_CLIP_BYTES)
    folder = _emptied("state")
    if run is not None and (run / "state.pt").exists():
        with (run / "state.pt").open("rb") as state:
            for number, part in enumerate(iter(lambda: state.read(PART_BYTES), b"")):
                (folder / f"part.{number:02}").write_bytes(part)


def main() -> None:
    """Pack, and say how large everything is."""
    parser = command("gpu.pack", __doc__)
    what = parser.add_subparsers(required=True, metavar="plugin | data")
    what.add_parser("plugin").set_defaults(pack=pack_plugin)
    data = what.add_parser("data")
    data.set_defaults(pack=pack_data)
    data.add_argument("data", type=Path)
    data.add_argument("run", type=Path, nargs="?")
    arguments = parser.parse_args()
    _download(_emptied("packages"), "av")
    arguments.pack(arguments)
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in sorted(PACK.iterdir())
        if folder.is_dir()
    }
    own = sum((ROOT / name).stat().st_size for name in _own_files())
    packages = sizes.pop("packages")
    for name, size in sizes.items():
        together = own + size + (packages if name == "plugin" else 0)
        print(f".gpu/{name}: {size >> 20} MiB, with what is sent with it {together >> 20} MiB")
        if together > MAX_SENT_BYTES:
            raise SystemExit(f".gpu/{name} is too large to be sent")


if __name__ == "__main__":
    main()
