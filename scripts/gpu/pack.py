"""Put what training needs into .gpu/ for a machine that gets nothing else: python -m scripts.gpu.pack DATA [RUN].

.gpu/data      photographs, training clips (long ones cut) and validation clips from DATA
.gpu/packages  PyAV, which decodes clips
.gpu/state     the state of RUN in parts, where there is one, to go on from

Each of them, with the repository's own files, is to be within the 64 MiB that are sent at a time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av

from scripts import ROOT, command

PACK = ROOT / ".gpu"
MAX_SENT_BYTES = 64 << 20
MAX_CLIP_BYTES = 1_100_000
PART_BYTES = 15 << 20


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


def pack(data: Path, run: Path | None) -> None:
    """Fill the folder anew."""
    shutil.rmtree(PACK, ignore_errors=True)
    for source, pattern, folder in (("train/photos", "*.jpg", "photos"), ("val", "*.mp4", "val")):
        (PACK / "data" / folder).mkdir(parents=True)
        for path in (data / source).glob(pattern):
            shutil.copy(path, PACK / "data" / folder)
    (PACK / "data" / "clips").mkdir()
    for path in (data / "train" / "clips").glob("*.mp4"):
        cut(path, PACK / "data" / "clips" / path.name, MAX_CLIP_BYTES)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps", "av"]
    subprocess.run([*download, "--dest", PACK / "packages"], check=True)
    (PACK / "state").mkdir()
    if run is not None and (run / "state.pt").exists():
        with (run / "state.pt").open("rb") as state:
            for number, part in enumerate(iter(lambda: state.read(PART_BYTES), b"")):
                (PACK / "state" / f"part.{number:02}").write_bytes(part)


def main() -> None:
    """Pack, and say how large everything is."""
    parser = command("gpu.pack", __doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    arguments = parser.parse_args()
    pack(arguments.data, arguments.run)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    own = sum((ROOT / name).stat().st_size for name in listed.split("\0") if (ROOT / name).is_file())
    for folder in sorted(PACK.iterdir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f".gpu/{folder.name}: {size >> 20} MiB, with the repository's own files {size + own >> 20} MiB")
        if size + own > MAX_SENT_BYTES:
            raise SystemExit(f".gpu/{folder.name} is too large to be sent")


if __name__ == "__main__":
    main()
