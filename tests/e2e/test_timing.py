"""Time as vspipe tells it: sound stays with the picture, however long the clip and however odd the rate."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

Script = Callable[[str], Path]


def timecodes(vspipe: Path, environment: dict[str, str], path: Path, out: Path) -> list[Fraction]:
    """Seconds at which each frame begins, of all frames of a script's clip."""
    subprocess.run(
        [vspipe, "--timecodes", out, path, "--"], env=environment, check=True, capture_output=True, timeout=300
    )
    lines = out.read_text().splitlines()
    assert lines[0] == "# timecode format v2"
    return [Fraction(line) / 1000 for line in lines[1:]]


def test_an_hour(vspipe: Path, environment: dict[str, str], script: Script, tmp_path: Path) -> None:
    """At the end of an hour the picture is where its sound is, to the microsecond."""
    path = script("""
clip = core.std.BlankClip(width=16, height=16, format=vs.GRAY8, length=21578, fpsnum=6000, fpsden=1001, keep=True)
core.videoinr.Upscale(clip, fps_num=10, model=tiny).set_output()
""")
    times = timecodes(vspipe, environment, path, tmp_path / "times.txt")
    hour = 21578 * Fraction(1001, 6000)
    assert len(times) == int(hour * 10)
    assert all(abs(time - Fraction(n, 10)) < Fraction(1, 10**6) for n, time in enumerate(times))


def test_a_variable_clip_of_which_vspipe_writes_the_times(
    vspipe: Path, environment: dict[str, str], script: Script, tmp_path: Path
) -> None:
    """As the README says: vspipe writes the timecodes of any clip, and fps_num then follows them."""
    make = """
slow = core.std.BlankClip(width=16, height=16, format=vs.GRAY8, length=12, fpsnum=24000, fpsden=1001, color=[50])
fast = core.std.BlankClip(slow, length=9, fpsnum=30, fpsden=1, color=[90])
clip = slow + fast
"""
    codes = tmp_path / "codes.txt"
    starts = timecodes(vspipe, environment, script(make + "clip.set_output()"), codes)
    end = 12 * Fraction(1001, 24000) + Fraction(9, 30)
    assert len(starts) == 21
    out = script(f"{make}core.videoinr.Upscale(clip, fps_num=60, timecodes={str(codes)!r}, model=tiny).set_output()")
    times = timecodes(vspipe, environment, out, tmp_path / "out.txt")
    assert len(times) == int(end * 60)
    assert all(abs(time - Fraction(n, 60)) < Fraction(1, 10**6) for n, time in enumerate(times))
