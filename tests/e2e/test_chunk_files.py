"""Chunks as files: what vspipe and ffmpeg make of a range of frames, and what is joined of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import psutil
import pytest

from vs_videoinr.jobs import join, script_info
from vs_videoinr.jobs.chunks import Chunk
from vs_videoinr.jobs.encode import DEFAULT_ENCODER, LOSSLESS_ENCODER, Recipe, encode_chunk
from vs_videoinr.jobs.errors import ChunkError, JobError
from vs_videoinr.jobs.script_info import ScriptInfo

BUNNY = Path(__file__).parents[1] / "data" / "bunny.mp4"

#: Frames of which a hundred are different, in FORMAT.
SHADES = """
flat = core.std.BlankClip(width=64, height=48, format=vs.FORMAT, length=LENGTH, fpsnum=24000, fpsden=1001, keep=True)
def shade(n):
    levels = [(16 + 2 * (n % 100)) << flat.format.bits_per_sample - 8, 90, 160]
    return core.std.BlankClip(flat, color=levels[:flat.format.num_planes], length=1)
clip = core.std.FrameEval(flat, shade)
"""

Make = Callable[..., tuple[Recipe, ScriptInfo]]


@pytest.fixture
def make(
    environment: dict[str, str], script: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Have a script looked at, for a job with chunks of so many frames."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def prepare(
        text: str, chunk: int, suffix: str = ".mkv", encoder: Sequence[str] = LOSSLESS_ENCODER
    ) -> tuple[Recipe, ScriptInfo]:
        path = script(text)
        info = script_info.inspect(str(path), {}, chunk)
        return Recipe(path, {}, info.clip, encoder, tmp_path, suffix), info

    return prepare


def encode(recipe: Recipe, chunk: Chunk, each: Callable[[int], None] = lambda _: None) -> None:
    encode_chunk(recipe, chunk, each, lambda: False)


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix != ".vpy"]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as file:
        return sorted(float(packet.pts * packet.time_base) for packet in file.demux(video=0) if packet.pts is not None)


def hdr(frames: int) -> str:
    tags = "_Matrix=9, _Primaries=9, _Transfer=16, _ChromaLocation=2, _Range=0, _SARNum=4, _SARDen=3"
    shades = SHADES.replace("FORMAT", "YUV420P10").replace("LENGTH", str(frames))
    return f"{shades}core.std.SetFrameProps(clip, {tags}).set_output()"


@pytest.mark.parametrize(
    ("suffix", "encoder"), [(".mkv", LOSSLESS_ENCODER), (".mkv", DEFAULT_ENCODER), (".mp4", DEFAULT_ENCODER)]
)
def test_ten_bits_with_sound(make: Make, tmp_path: Path, suffix: str, encoder: Sequence[str]) -> None:
    """The picture lasts as long as the sound, is tagged as the clip is, and has every frame at its time."""
    with av.open(str(BUNNY)) as source:
        sound = source.streams.audio[0]
        assert sound.duration is not None
        assert sound.time_base is not None
        seconds = float(sound.duration * sound.time_base)
    frames = round(seconds * 24000 / 1001)
    recipe, info = make(hdr(frames), frames // 3 + 1, suffix, encoder)
    assert len(info.chunks) == 3
    for chunk in reversed(info.chunks):
        encode(recipe, chunk)
    out = tmp_path / f"out{suffix}"
    join.try_encoder(recipe, BUNNY, out)
    join.join(recipe, info.chunks, BUNNY, out)

    with av.open(str(out)) as result:
        video, audio = result.streams.video[0], result.streams.audio[0]
        assert audio.codec_context.name == "aac"
        assert video.codec_context.pix_fmt == "yuv420p10le"
        assert video.sample_aspect_ratio == Fraction(4, 3)
        codec = video.codec_context
        assert (codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 9, 9, 16)
        assert result.duration is not None
        assert result.duration / av.time_base == pytest.approx(seconds, abs=1001 / 24000 + 0.03)
        shades = [frame.reformat(format="gray").to_ndarray()[0, 0] for frame in result.decode(video=0)]
        assert len(shades) == frames
        assert shades == sorted(set(shades))
    found = times(out)
    tolerance = 0.0011 if suffix == ".mkv" else 1e-5
    assert [time - found[0] for time in found] == pytest.approx(
        [n * 1001 / 24000 for n in range(frames)], abs=tolerance
    )


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_a_variable_rate_keeps_its_times(make: Make, tmp_path: Path, suffix: str) -> None:
    shades = SHADES.replace("FORMAT", "YUV420P8").replace("LENGTH", "42")
    text = """
rates = [(24000, 1001), (10, 1), (60, 1)]
parts = [core.std.AssumeFPS(clip[7 * k:7 * k + 7], None, *rates[k % 3]) for k in range(6)]
core.std.Splice(parts).set_output()
"""
    recipe, info = make(shades + text, 17, suffix, DEFAULT_ENCODER)
    for chunk in info.chunks:
        encode(recipe, chunk)
    out = tmp_path / f"out{suffix}"
    join.join(recipe, info.chunks, None, out)
    lasting = [[1001 / 24000, 1 / 10, 1 / 60][n // 7 % 3] for n in range(42)]
    assert times(out) == pytest.approx([sum(lasting[:n]) for n in range(42)], abs=0.0011)
    with av.open(str(out)) as result:
        assert result.duration is not None
        assert result.duration / av.time_base == pytest.approx(sum(lasting), abs=0.002)


def test_sound_that_begins_before_the_picture(make: Make, tmp_path: Path, ffmpeg: str) -> None:
    source = tmp_path / "source.mkv"
    inputs = ["-f", "lavfi", "-i", "sine=d=2", "-itsoffset", "0.5", "-f", "lavfi", "-i", "testsrc=s=64x48:r=24:d=1"]
    outputs = ["-map", "0", "-map", "1", "-metadata", "title=A film", "-c:a", "flac", str(source)]
    subprocess.run([ffmpeg, "-v", "error", *inputs, *outputs], check=True, timeout=60)
    recipe, info = make(hdr(12), 12)
    encode(recipe, info.chunks[0])
    out = tmp_path / "out.mkv"
    join.join(recipe, info.chunks, source, out)
    with av.open(str(out)) as result:
        starts = {
            packet.stream.type: float(packet.pts * packet.time_base)
            for packet in [*result.demux()][::-1]
            if packet.pts is not None
        }
        assert starts["video"] - starts["audio"] == pytest.approx(0.5, abs=0.05)
        assert result.metadata["title"] == "A film"


def test_a_chunk_without_all_its_frames_is_not_kept(make: Make, tmp_path: Path) -> None:
    recipe, info = make(SHADES.replace("FORMAT", "GRAY16").replace("LENGTH", "20") + "clip[:20].set_output()", 20)
    (chunk,) = info.chunks
    with pytest.raises(ChunkError, match=r"(ffmpeg has not read all|the encoder made 3) frames"):
        encode(replace(recipe, encoder=[*LOSSLESS_ENCODER, "-frames:v", "3"]), chunk)
    with pytest.raises(ChunkError, match="the encoder made 10 frames of 20"):
        encode(replace(recipe, encoder=[*LOSSLESS_ENCODER, "-vf", r"select=not(mod(n\,2))"]), chunk)
    with pytest.raises(ChunkError, match="vspipe ended with 1: Trim: last frame beyond clip end"):
        encode(recipe, chunk._replace(last=24))
    assert left_over(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="signals are what kills there")
@pytest.mark.parametrize("name", ["vspipe", "ffmpeg"])
def test_a_program_that_is_killed(make: Make, tmp_path: Path, name: str) -> None:
    recipe, info = make(SHADES.replace("FORMAT", "GRAY8").replace("LENGTH", "200") + "clip.set_output()", 200)

    def kill(frames: int) -> None:
        if frames == 9:
            for child in psutil.Process().children():
                if child.name() == name:
                    child.kill()

    with pytest.raises(ChunkError, match=f"{name} ended with -9"):
        encode(recipe, info.chunks[0], kill)
    assert left_over(tmp_path) == []


def test_a_chunk_that_nobody_waits_for(make: Make, tmp_path: Path) -> None:
    recipe, info = make(SHADES.replace("FORMAT", "GRAY8").replace("LENGTH", "200") + "clip.set_output()", 200)
    abandoned = threading.Event()

    def abandon(frames: int) -> None:
        if frames == 9:
            abandoned.set()
            abandoned.wait(0.3)

    with pytest.raises(ChunkError, match="nobody waits"):
        encode_chunk(recipe, info.chunks[0], abandon, abandoned.is_set)
    assert left_over(tmp_path) == []
    assert not psutil.Process().children()


def test_a_script_is_looked_at_without_rendering(make: Make, tmp_path: Path, tiny: str) -> None:
    """It is cut where pairs begin, and at a cut where it marks one; what decides its frames is noted."""
    (tmp_path / "own_module.py").write_text("FACTOR = 5\n")
    shades = SHADES.replace("FORMAT", "YUV420P8").replace("LENGTH", "20")
    text = """
import own_module
print("not part of the answer")
clip = core.std.SetFrameProps(clip, _Matrix=1)
cuts = [core.std.SetFrameProps(clip[n], _SceneChangeNext=n == 9) for n in range(20)]
clip = core.std.Splice(cuts)
clip = core.videoinr.Upscale(clip, scale=2, factor_num=own_module.FACTOR, factor_den=2, model=tiny)
core.std.SetFrameProps(clip, Note=1).set_output()
"""
    _, info = make(shades + text, 21)
    assert (info.clip.frames, info.clip.width, info.clip.fps) == (50, 128, Fraction(60000, 1001))
    assert [chunk.last + 1 for chunk in info.chunks] == [25, 48, 50]
    assert [Path(path).name for path in info.files] == ["script.vpy", "own_module.py"]
    assert info.machine.models == {tiny: hashlib.sha256(Path(tiny).read_bytes()).hexdigest()}
    assert info.machine.device in ("cpu", "cuda")
    _, info = make(shades + text, 18)
    assert [chunk.last + 1 for chunk in info.chunks] == [18, 38, 50]

    other = replace(info.machine, models={tiny: "0" * 64}, versions={**info.machine.versions, "ffmpeg": "0.1"})
    assert other.differences(info.machine) == [
        f"ffmpeg 0.1 instead of {info.machine.versions['ffmpeg']}",
        f"another model {tiny} instead of {info.machine.models[tiny][:12]}",
    ]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("core.std.BlankClip(format=vs.RGB24).set_output()", "the script's output is RGB24, but encoders get"),
        ("core.std.BlankClip(format=vs.YUV444PS).set_output()", "the script's output is YUV444PS, but encoders get"),
        ("core.std.BlankClip(format=vs.GRAY8).set_output(1)", "script.vpy has no video as output 0"),
        ("core.nonesuch.Filter()", "No attribute with the name nonesuch exists"),
    ],
)
def test_a_script_that_cannot_be_encoded(make: Make, output: str, problem: str) -> None:
    with pytest.raises(JobError, match=problem):
        make(output, 10)


def test_an_encoder_that_does_not_work_is_noticed_before_anything_is_rendered(make: Make, tmp_path: Path) -> None:
    recipe, _ = make(hdr(4), 4)
    with pytest.raises(JobError, match="ffmpeg cannot encode so: "):
        join.try_encoder(replace(recipe, encoder=["-c:v", "nonesuch"]), None, tmp_path / "out.mkv")
    with pytest.raises(JobError, match=r"ffmpeg could not join the chunks as \.webm"):
        join.try_encoder(replace(recipe, suffix=".mkv"), None, tmp_path / "out.webm")
    assert left_over(tmp_path) == []
