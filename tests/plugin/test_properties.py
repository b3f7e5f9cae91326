"""Whatever is asked for: either the result that was announced, or one line that says why not.

Requests are drawn at random. What is cheap to render is rendered; the arithmetic of the rest is checked alone.
"""

from __future__ import annotations

import json
import math
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.torch
import torch
import vapoursynth as vs
import yaml
from hypothesis import HealthCheck, given, settings

from tests.reference_recipe import reference_state_dict, small_shapes
from vs_videoinr import load
from vs_videoinr.errors import ModelError
from vs_videoinr.plugin.arguments import Clip, UsageError
from vs_videoinr.plugin.entry import create
from vs_videoinr.plugin.output_size import output_size
from vs_videoinr.plugin.timeline import Resampled
from vs_videoinr.weights import catalogue

# The core and the model are the same for all examples of a test; nothing in them remembers the one before.
quick = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])

FORMATS = [
    *(vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS),
    *(vs.YUV410P8, vs.YUV411P8, vs.YUV420P8, vs.YUV420P10, vs.YUV420P16, vs.YUV422P8, vs.YUV440P8),
    *(vs.YUV444P8, vs.YUV444P12, vs.YUV444P16, vs.YUV420PH, vs.YUV420PS, vs.YUV444PH, vs.YUV444PS),
]
RATES = [(1, 1000), (1000000, 1001), (24000, 1001), (24, 1), (25, 1), (2**31 - 1, 1), (1, 2**31 - 1)]

whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 100)
real = st.floats() | st.floats(0.5, 4) | st.integers(0, 5).map(float)
text = st.text(max_size=20) | st.sampled_from(["cpu", "cuda", "cuda:9", "cuda:-1", "lite", "../lite", "/dev/zero"])

#: By name, what is drawn for each argument; those of a new one belong here.
ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "scale": real,
    "width": whole,
    "height": whole,
    "fps_num": whole,
    "fps_den": whole,
    "factor_num": whole,
    "factor_den": whole,
    "timecodes": text,
    "sc": whole,
    "sc_threshold": real,
    "sc_mode": text | st.sampled_from(["hold", "switch"]),
    "fp16": whole,
}
RATE = ("fps_num", "fps_den", "factor_num", "factor_den", "timecodes")
QUERY_ARGUMENTS = {name: drawn for name, drawn in ARGUMENTS.items() if name not in RATE}
FLOW_ARGUMENTS = ARGUMENTS | {"to": whole, "reach": real, "data": whole, "times": real, "seconds": real}


def one_line(error: BaseException, begins: str = "") -> None:
    """A message is a line that can be printed, about what was asked and not about our insides."""
    message = str(error)
    assert message.startswith(begins)
    assert len(message) > len(begins)
    assert "\n" not in message
    assert "internal error" not in message
    assert "Traceback" not in message


# Arguments


@pytest.mark.vpy("unique-core")
@quick
@given(arguments=st.fixed_dictionaries({}, optional=ARGUMENTS))
def test_any_arguments_of_upscale(core: Any, tiny: str, arguments: dict[str, Any]) -> None:
    clip = core.std.BlankClip(width=6, height=4, format=vs.GRAY8, length=7, fpsnum=24000, fpsden=1001, keep=True)
    try:
        out = core.videoinr.Upscale(clip, model=tiny, device="cpu", **arguments)
    except vs.Error as error:
        one_line(error, "Upscale: ")
    else:
        assert out.width >= 6
        assert out.height >= 4
        assert out.num_frames >= 1
        assert out.fps > 0


@pytest.mark.vpy("unique-core")
@quick
@given(
    times=st.lists(st.floats() | st.floats(0, 6), min_size=1, max_size=6),
    arguments=st.fixed_dictionaries({}, optional=QUERY_ARGUMENTS),
)
def test_any_arguments_of_query(core: Any, tiny: str, times: list[float], arguments: dict[str, Any]) -> None:
    clip = core.std.BlankClip(width=6, height=4, format=vs.GRAY8, length=7, fpsnum=24, keep=True)
    try:
        out = core.videoinr.Query(clip, times=times, model=tiny, device="cpu", **arguments)
    except vs.Error as error:
        one_line(error, "Query: ")
    else:
        assert out.num_frames == len(times)
        assert all(-1e-6 <= t <= 6 + 1e-6 for t in times)  # so near a source frame it is that one


@pytest.mark.vpy("unique-core")
@quick
@given(seconds=st.lists(st.floats() | st.floats(0, 0.3), min_size=1, max_size=6))
def test_any_seconds(core: Any, tiny: str, seconds: list[float]) -> None:
    clip = core.std.BlankClip(width=6, height=4, format=vs.GRAY8, length=7, fpsnum=24, keep=True)
    try:
        out = core.videoinr.Query(clip, seconds=seconds, model=tiny, device="cpu")
    except vs.Error as error:
        one_line(error, "Query: ")
        assert not all(0 <= time < 7 / 24 for time in seconds)
    else:
        assert out.num_frames == len(seconds)
        out.get_frame(len(seconds) - 1).close()


@pytest.mark.vpy("unique-core")
@quick
@given(arguments=st.fixed_dictionaries({}, optional=FLOW_ARGUMENTS))
def test_any_arguments_of_flow(core: Any, tiny: str, arguments: dict[str, Any]) -> None:
    clip = core.std.BlankClip(width=6, height=4, format=vs.GRAY8, length=7, fpsnum=24, keep=True)
    try:
        out = core.videoinr.Flow(clip, model=tiny, device="cpu", **arguments)
    except vs.Error as error:
        one_line(error, "Flow: ")
    else:
        assert out.format.id == (vs.RGBS if arguments.get("data") else vs.RGB24)
        assert out.num_frames >= 1


@pytest.mark.vpy("unique-core")
@quick
@given(device=text, model=text)
def test_any_text(core: Any, device: str, model: str) -> None:
    clip = core.std.BlankClip(width=6, height=4, format=vs.GRAY8, length=2)
    for given_text in ({"device": device, "model": "no such model"}, {"model": f"{model}?", "device": "cpu"}):
        with pytest.raises(vs.Error) as raised:
            core.videoinr.Upscale(clip, scale=2, **given_text)
        one_line(raised.value, "Upscale: ")


# Clips


@pytest.mark.vpy("unique-core")
@settings(quick, max_examples=25)
@given(
    format_=st.sampled_from(FORMATS),
    width=st.integers(1, 9),
    height=st.integers(1, 9),
    scale=st.floats(1, 3),
    factor=st.fractions(Fraction(1, 3), 4, max_denominator=9),
    rate=st.sampled_from(RATES),
    data=st.data(),
)
def test_any_clip(
    core: Any,
    tiny: str,
    format_: int,
    width: int,
    height: int,
    scale: float,
    factor: Fraction,
    rate: tuple[int, int],
    data: st.DataObject,
) -> None:
    kind = core.get_video_format(format_)
    width, height = width << kind.subsampling_w, height << kind.subsampling_h
    clip = core.std.BlankClip(format=format_, width=width, height=height, length=3, fpsnum=rate[0], fpsden=rate[1])
    if kind.color_family == vs.YUV:
        clip = core.std.SetFrameProps(clip, _Matrix=data.draw(st.sampled_from([1, 5, 6, 9])))
    out = core.videoinr.Upscale(
        clip, scale=scale, factor_num=factor.numerator, factor_den=factor.denominator, model=tiny, device="cpu"
    )
    assert out.format.id == format_
    assert out.num_frames == max(1, math.floor(3 * factor))
    assert out.fps == Fraction(*rate) * factor
    assert out.width >= scale * width - 0.5
    with out.get_frame(data.draw(st.integers(0, out.num_frames - 1))) as frame:
        assert (frame.width, frame.height) == (out.width, out.height)
        for plane in frame:
            assert np.isfinite(np.asarray(plane, np.float64)).all()


@pytest.mark.vpy("unique-core")
@settings(quick, max_examples=4)
@given(sizes=st.sampled_from([(1, 3001), (3001, 1), (1999, 3), (2, 2047)]), model=st.sampled_from(["tiny", "lite"]))
def test_long_and_thin(core: Any, tiny: str, sizes: tuple[int, int], model: str) -> None:
    clip = core.std.BlankClip(format=vs.RGBS, width=sizes[0], height=sizes[1], length=2, color=[0.2, 0.5, 0.7])
    out = core.videoinr.Upscale(
        clip, width=sizes[0] + 1, height=sizes[1], factor_num=2, model=tiny if model == "tiny" else model, device="cpu"
    )
    with out.get_frame(1) as frame:
        assert all(np.isfinite(np.asarray(plane)).all() for plane in frame)


@pytest.mark.vpy("unique-core")
@settings(quick, max_examples=20)
@given(values=st.lists(st.floats(width=32), min_size=4, max_size=4))
def test_any_pixel(core: Any, tiny: str, values: list[float]) -> None:
    def fill(n: int, f: Any) -> Any:  # noqa: ARG001
        frame = f.copy()
        np.asarray(frame[0])[:] = np.array(values, np.float32).reshape(2, 2)
        return frame

    blank = core.std.BlankClip(format=vs.GRAYS, width=2, height=2, length=2)
    out = core.videoinr.Upscale(core.std.ModifyFrame(blank, blank, fill), scale=2, model=tiny, device="cpu")
    with out.get_frame(0) as frame:
        pixels = np.asarray(frame[0])
        assert np.isfinite(pixels).all()
        assert np.abs(pixels).max() <= 1.1e4  # what is beyond that is no light


# Arithmetic, without rendering


@settings(quick, max_examples=200)
@given(
    frames=st.integers(1, 2**31 - 1),
    ratio=st.fractions(Fraction(1, 10**6), 10**6),
    rate=st.sampled_from([Fraction(*rate) for rate in RATES]),
    data=st.data(),
)
def test_any_rate(frames: int, ratio: Fraction, rate: Fraction, data: st.DataObject) -> None:
    timeline = Resampled(frames, ratio, rate)
    assert timeline.length == max(1, math.floor(frames * ratio))
    n = data.draw(st.integers(0, timeline.length - 1))
    place = timeline.place(n)
    assert 0 <= place.left <= place.right <= min(place.left + 1, frames - 1)
    assert 0 <= place.t <= 1
    if place.right > place.left:
        assert place.left + place.t == n / ratio
    lasts = timeline.duration(n)
    assert lasts is not None
    assert lasts > 0


@settings(quick, max_examples=200)
@given(
    size=st.tuples(st.integers(1, 9001), st.integers(1, 9001)),
    shift=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    scale=st.none() | st.floats(),
    exact=st.tuples(st.none() | st.integers(-5, 10**6), st.none() | st.integers(-5, 10**6)),
)
def test_any_size(
    size: tuple[int, int], shift: tuple[int, int], scale: float | None, exact: tuple[int | None, int | None]
) -> None:
    multiple = (1 << shift[0], 1 << shift[1])
    size = (size[0] * multiple[0], size[1] * multiple[1])
    try:
        out = output_size(size, multiple, scale, *exact)
    except ValueError as error:
        one_line(error)
        return
    assert all(high >= low and high % step == 0 for low, high, step in zip(size, out, multiple, strict=True))
    for side, wanted in zip(out, exact, strict=True):
        assert wanted in (None, side)


@quick
@given(
    clip=st.tuples(
        st.just("Any"),
        st.integers(0, 4),
        st.integers(0, 1),
        st.integers(0, 40),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 70000),
        st.integers(0, 70000),
        st.integers(1, 2**31 - 1),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    ),
    arguments=st.fixed_dictionaries({}, optional=ARGUMENTS),
)
def test_any_description_of_a_clip(tiny: str, clip: Any, arguments: dict[str, Any]) -> None:
    """Also those that no VapourSynth would hand over."""
    if Clip(*clip).fps_den == 0:
        clip = (*clip[:-2], 0, 1)
    try:
        made = create("Upscale", clip, {"model": tiny, "device": "cpu", **arguments})
    except UsageError as error:
        one_line(error)
    else:
        made.close()


# Checkpoints and cards

TENSORS = {key: torch.from_numpy(value) for key, value in reference_state_dict(small_shapes()).items()}
SAFE = safetensors.torch.save(TENSORS, {"architecture": "videoinr", "settings": "{}"})


@contextmanager
def saved(data: bytes, name: str = "model.pth") -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        yield path
        assert [found.name for found in Path(folder).iterdir()] == [name]  # nothing is left behind


def torch_file(state: object, *, new: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "archive.pth")
        torch.save(state, path, _use_new_zipfile_serialization=new)
        return path.read_bytes()


WHOLE = {"safetensors": SAFE, "zip": torch_file(TENSORS, new=True), "legacy": torch_file(TENSORS, new=False)}


def loads_or_says_why(path: Path) -> None:
    try:
        load(path)
    except ModelError as error:
        one_line(error, f"{path} is not a VideoINR checkpoint: ")


@settings(quick, max_examples=60)
@given(kind=st.sampled_from(sorted(WHOLE)), where=st.floats(0, 1), bytes_=st.binary(min_size=1, max_size=12))
def test_any_damage(kind: str, where: float, bytes_: bytes) -> None:
    data = bytearray(WHOLE[kind])
    begin = int(where**3 * len(data))  # most of what can go wrong is near the beginning
    data[begin : begin + len(bytes_)] = bytes_
    with saved(bytes(data)) as path:
        loads_or_says_why(path)


@settings(quick, max_examples=40)
@given(kind=st.sampled_from(sorted(WHOLE)), where=st.floats(0, 1), bytes_=st.binary(max_size=40))
def test_any_truncation(kind: str, where: float, bytes_: bytes) -> None:
    keep = int(where * (len(WHOLE[kind]) - 1))
    with saved(WHOLE[kind][:keep] + bytes_) as path:
        loads_or_says_why(path)


@settings(quick, max_examples=60)
@given(
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"\x08\0\0\0\0\0\0\0{"]), data=st.data()
)
def test_any_bytes(start: bytes, data: st.DataObject) -> None:
    with saved(start + data.draw(st.binary(max_size=300))) as path, pytest.raises(ModelError) as raised:
        load(path)
    one_line(raised.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(quick, max_examples=40)
@given(state=anything, protocol=st.integers(0, 5), zipped=st.booleans())
def test_any_pickle(state: Any, protocol: int, zipped: bool) -> None:
    data = pickle.dumps(state, protocol)
    with saved(data) as path:
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", data)
        with pytest.raises(ModelError) as raised:
            load(path)
    one_line(raised.value)


@settings(quick, max_examples=60)
@given(
    table=st.dictionaries(
        st.sampled_from([*list(TENSORS)[:3], "__metadata__", "é\n"]),
        anything
        | st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F16", "I64", "F8"]),
                "shape": st.lists(st.integers(-1, 2**45), max_size=4),
                "data_offsets": st.lists(st.integers(-1, 2**45), min_size=2, max_size=2),
            }
        ),
        max_size=4,
    )
)
def test_any_table_of_tensors(table: dict[str, Any]) -> None:
    # bytes have no place in JSON
    text_ = json.dumps(table, default=repr).encode()
    with saved(len(text_).to_bytes(8, "little") + text_ + bytes(64)) as path, pytest.raises(ModelError) as raised:
        load(path)
    one_line(raised.value)


@settings(quick, max_examples=60)
@given(
    card=st.dictionaries(
        st.sampled_from(["name", "architecture", "sha256", "settings", "description", "training", "scores", "x"]),
        anything | st.just("videoinr"),
    )
    | anything,
    mark=st.sampled_from(["", "!!python/object/apply:os.mkdir [", "&a [*a]", "\0", "\t", "? ", "<<: ", "--- 1\n--- "]),
    where=st.floats(0, 1),
)
def test_any_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: Any, mark: str, where: float) -> None:
    monkeypatch.setenv(catalogue.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    written = yaml.safe_dump(card, allow_unicode=True)
    place = int(where * len(written))
    (tmp_path / "mine.yaml").write_text(written[:place] + mark + written[place:], encoding="utf-8")
    with pytest.raises(ModelError) as raised:
        load("mine")
    one_line(raised.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.yaml"]
