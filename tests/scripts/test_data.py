"""The training data says what is true of pictures and motion, and shows what films show."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.data.bars import BARS_SHARE, add_bars
from scripts.data.batch import BatchSpec
from scripts.data.clips import Clips
from scripts.data.degradation import compress_h264, reduce_bicubic
from scripts.data.drawings import draw
from scripts.data.fades import fade
from scripts.data.pans import Pans
from scripts.data.photographs import Photographs
from scripts.data.pictures import cut_detailed, load_photographs, load_stills
from scripts.data.single_frames import SingleFrames
from scripts.data.video import cached, decode, frame_rate
from scripts.gpu.pack import cut
from vs_videoinr.networks.sampling import warp


def test_frames_are_decoded_as_they_were_encoded(tmp_path: Path) -> None:
    frames = np.random.default_rng(4).integers(0, 256, (7, 18, 26, 3), np.uint8)
    with av.open(tmp_path / "clip.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=50)
        stream.width, stream.height, stream.pix_fmt = 26, 18, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(decode(tmp_path / "clip.mkv"), frames)
    assert frame_rate(tmp_path / "clip.mkv") == 50


def test_a_clip_is_cut_without_leaving_out_a_frame(bunny: Path, tmp_path: Path) -> None:
    whole = decode(bunny)
    lengths = set()
    for limit in (24_000, 40_000, 41_000, 42_000, 60_000, 1 << 30):
        cut(bunny, tmp_path / "cut.mp4", limit)
        part = decode(tmp_path / "cut.mp4")
        np.testing.assert_array_equal(part, whole[: len(part)])
        lengths.add(len(part))
    assert max(lengths) == len(whole) == 40
    assert len(lengths) > 2


def test_what_is_no_clip_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(3200))
    for name, reason in (
        ("none.mp4", "cannot be decoded: No such file or directory"),
        ("text.mp4", "cannot be decoded: Invalid data found when processing input"),
        ("sound.wav", "holds no video"),
    ):
        with pytest.raises(SystemExit) as refused:
            decode(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name} {reason}"


def test_the_motion_of_photographs_leads_from_one_frame_to_the_other(photos: Path) -> None:
    source = Photographs(load_photographs(photos), BatchSpec(4, 64, 0.5), max_motion=8, seed=4)
    still = moved = 0.0
    for number in range(6):
        batch = source.make_motion(number)
        assert batch.flow is not None
        back = (warp(batch.frame1, batch.flow[:4]) - batch.frame0).abs()[..., 8:-8, 8:-8]
        still += float((batch.frame1 - batch.frame0).abs()[..., 8:-8, 8:-8].median())
        moved += float(back.median())
    assert moved < still / 3  # what is left is the price of resampling


def test_pieces_are_cut_where_there_is_detail(photos: Path) -> None:
    fine = load_photographs(photos)[0][:, :60, :90]  # smaller than what is wanted
    flat = torch.full((3, 200, 200), 90, dtype=torch.uint8)
    random = torch.Generator().manual_seed(1)
    pieces = [cut_detailed([flat, fine], (100, 100), 80, random) for _ in range(80)]
    assert all(piece.shape == (3, 100, 100) for piece in pieces)
    assert all(0 <= float(piece.min()) <= float(piece.max()) <= 1 for piece in pieces)
    detailed = sum(float(piece.std()) > 0.01 for piece in pieces)
    assert 60 < detailed < 80  # all three that are compared are flat now and then


def test_pans_are_exact(photos: Path) -> None:
    source = Pans(load_photographs(photos), BatchSpec(3, 48, 0.0), max_motion=8, seed=2)
    clean = motions = 0
    for number in range(12):
        batch = source.make(number)
        now, first, last = batch.targets
        assert (first.t, last.t) == (0, 1)
        assert 0 < now.t < 1
        assert batch.flow is not None
        seen = [reduce_bicubic(target.rgb, (48, 48)) for target in (first, last)]
        if not (torch.equal(seen[0], batch.frame0) and torch.equal(seen[1], batch.frame1)):
            continue  # one of the degraded
        clean += 1
        high = batch.size[0]
        ways = batch.flow[:3, :, 0, 0] * (high / 48)
        assert torch.equal(batch.flow[3:], -batch.flow[:3])
        for one, way in enumerate(ways):
            x, y = (round(float(length)) for length in way)
            motions += (x, y) != (0, 0)
            # what lies at a place of the first frame lies `way` farther in the last one, a part of it at any time
            there = torch.roll(last.rgb[one], (-y, -x), (1, 2))
            inner = slice(high // 3, -high // 3)
            assert torch.equal(there[:, inner, inner], first.rgb[one][:, inner, inner])
            there = torch.roll(now.rgb[one], (-round(y * now.t), -round(x * now.t)), (1, 2))
            assert torch.equal(there[:, inner, inner], first.rgb[one][:, inner, inner])
    assert clean > 6
    assert motions > 12


def test_frames_follow_one_another_evenly_enough_to_be_neighbours(photos: Path) -> None:
    """The middle frame is what its truth becomes; the following one lies as far from the last as the middle one."""
    images, spec = load_photographs(photos), BatchSpec(3, 48, 0.0)
    clean = 0
    for number in range(8):
        for source in (Pans(images, spec, 6, seed=2), Photographs(images, spec, 6, seed=2)):
            batch = source.make(number)
            assert batch.middle is not None
            assert batch.following is not None
            middle, target = batch.middle
            if torch.equal(
                reduce_bicubic(batch.targets[1].rgb, (48, 48)), batch.frame0
            ):  # one of those that are not degraded
                assert torch.equal(reduce_bicubic(target.rgb, (48, 48)), middle)
                clean += 1
        batch = Pans(images, spec, 6, seed=2).make(number)
        assert batch.middle is not None
        assert batch.following is not None
        assert batch.flow is not None
        t, there = batch.middle[1].t, batch.flow[:3]
        for one, other, share in (
            (batch.frame0, batch.middle[0], t),
            (batch.middle[0], batch.frame1, 1 - t),
            (batch.frame1, batch.following, 1 - t),
        ):
            moved = (warp(other, there * share) - one).abs()[..., 10:-10, 10:-10].mean()
            assert moved < 0.3 * (other - one).abs()[..., 10:-10, 10:-10].mean() + 0.02
    assert clean > 10


def test_drawings_have_edges_that_lie_anywhere_between_pixels(photos: Path) -> None:
    backgrounds = load_photographs(photos)
    drawings = draw(8, backgrounds, seed=3)
    # each is made from its number alone
    assert all(torch.equal(one, again) for one, again in zip(drawings[:2], draw(2, backgrounds, seed=3), strict=True))
    assert not torch.equal(drawings[0], draw(1, backgrounds, seed=4)[0])
    for drawing in drawings:
        green = drawing[1].double()
        steep = (green[1:] - green[:-1]).abs() > 60
        # in most lines there are edges, as far apart as things are, and not everywhere
        assert 0.0005 < float(steep.double().mean()) < 0.2
        # where an edge is crossed, its middle is as often any grey between both sides as one of both
        low, middle, high = green[:-2], green[1:-1], green[2:]
        share = ((middle - low) / (high - low))[(high - low).abs() > 100]
        assert float(((share > 0.1) & (share < 0.9)).double().mean()) > 0.2


def test_stills_are_frames_and_want_nothing_between_them(bunny: Path, tmp_path: Path) -> None:
    frames = torch.from_numpy(cached(bunny, tmp_path).copy()).permute(0, 3, 1, 2)
    pictures = load_stills([bunny], tmp_path)
    assert 1 <= len(pictures) < len(frames)
    assert all((frames == picture).all((1, 2, 3)).any() for picture in pictures)
    source = Pans(pictures, BatchSpec(2, 24, 0.0), max_motion=2, seed=1, between=False)
    for number in range(4):
        batch = source.make(number)
        assert batch.flow is None
        assert [target.t for target in batch.targets] == [0, 1]
        for target, frame in zip(batch.targets, (batch.frame0, batch.frame1), strict=True):
            assert float((reduce_bicubic(target.rgb, (24, 24)) - frame).abs().median()) < 0.02
    tiny = Pans(pictures, BatchSpec(1, 6, 0.0), max_motion=2, seed=1, between=False)
    assert min(tiny.make(number).size[0] for number in range(60)) == 7  # at 6 there would be nothing to learn


def test_a_single_frame_is_a_pair_with_itself_and_what_it_shows(photos: Path) -> None:
    source = SingleFrames(load_photographs(photos), BatchSpec(2, 24, 0.0), seed=1)
    clean, sizes = 0, []
    for number in range(40):
        batch = source.make(number)
        assert batch.frame0 is batch.frame1
        (target,) = batch.targets
        assert target.t == 0
        assert target.rgb.shape[-2:] == batch.size
        change = (reduce_bicubic(target.rgb, (24, 24)) - batch.frame0).abs()
        clean += float(change.max()) == 0
        assert float(change.median()) < 0.02
        sizes.append(batch.size[0])
    assert 30 <= clean < 40  # the others are degraded on purpose, slightly
    assert max(sizes) == 96
    assert 15 <= sizes.count(96) < 40
    assert 24 < min(sizes) < 48


def test_some_single_frames_have_bars_and_are_whole_beside_them() -> None:
    random, scale, side = torch.Generator().manual_seed(1), 4.0, 192
    picture = torch.rand(3, side, side)
    ringing = 2  # full-size pixels beside a bar that its edge may change
    sides, widths, opposite = set(), [], 0
    for _ in range(1000):
        changed = (add_bars(picture, scale, random) != picture).any(0)
        if not changed.any():
            continue
        upright = bool(changed[0].any() and not changed[0].all())
        lines = changed[0] if upright else changed[:, 0]
        assert torch.equal(changed, (lines[None] if upright else lines[:, None]).expand_as(changed))
        first, last = (int((~ends).to(torch.int8).argmax()) for ends in (lines, lines.flip(0)))
        assert first + last == int(lines.sum())  # there is nothing but bars at both ends
        assert max(first, last) <= 16 * scale + ringing
        sides |= {(upright, number) for number, width in enumerate((first, last)) if width}
        widths += [width for width in (first, last) if width]
        opposite += bool(first and last)
    assert len(sides) == 4
    assert 0.7 * BARS_SHARE < (len(widths) - opposite) / 1000 < 1.3 * BARS_SHARE
    assert 0.4 < sum(width < scale + ringing for width in widths) / len(widths) < 0.7  # lines, most of them
    assert sum(scale < width < 2 * scale for width in widths) > 20
    assert sum(width > 4 * scale for width in widths) > 20
    assert opposite > 20

    level = torch.full((3, side, side), 0.5)
    lined = [made for made in (add_bars(level, scale, random) for _ in range(1000)) if not torch.equal(made, level)]
    rings = sum(bool((one > 0.505).any() and (one < 0.495).any()) for one in lined)
    assert 0.25 < rings / len(lined) < 0.6
    assert 0.4 < sum(bool(one.min() < 0.1) for one in lined) / len(lined) < 0.8  # the others: grey, seen through
    coloured = sum(bool((one[0] != one[1]).any()) for one in lined)
    assert 0.05 < coloured / len(lined) < 0.3


def test_targets_are_what_the_network_sees_only_larger(photos: Path) -> None:
    source = Photographs(
        load_photographs(photos), BatchSpec(2, 32, 0.0), max_motion=4, seed=1
    )  # compression: see below
    clean = 0
    for number in range(16):
        batch = source.make(number)
        between, *sources = batch.targets
        assert 0 < between.t < 1
        assert [target.t for target in sources] == [0, 1]
        for target, frame in zip(sources, (batch.frame0, batch.frame1), strict=True):
            assert target.rgb.shape[-2:] == batch.size
            change = (reduce_bicubic(target.rgb, (32, 32)) - frame).abs()
            clean += float(change.max()) == 0
            assert float(change.median()) < 0.02  # some batches are degraded on purpose, slightly
    assert 24 <= clean < 32  # of the frames


def test_clips_give_true_frames_at_true_times(bunny: Path, tmp_path: Path) -> None:
    frames = torch.from_numpy(cached(bunny, tmp_path).copy())
    source = Clips([bunny], tmp_path, BatchSpec(1, 24, 0.5), seed=3)
    batch = source.make(0)
    wanted = (batch.targets[0].rgb[0] * 255).round().byte()
    height, width = wanted.shape[-2:]
    for flip in range(8):
        axes = [axis + 1 for axis in range(2) if flip >> axis & 1]
        piece = (wanted.transpose(1, 2) if flip & 4 else wanted).flip(axes).permute(1, 2, 0)
        corner = (frames[:, : 145 - height, : 257 - width] == piece[0, 0]).all(-1).nonzero().tolist()
        for n, y, x in corner:
            if torch.equal(frames[n, y : y + height, x : x + width], piece):
                return
    pytest.fail("the target is no piece of any frame")


def test_clips_too_small_to_cut_from_are_refused_in_a_sentence(bunny: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no clip has a shot of 8 frames of at least 160x160 pixels"):
        Clips([bunny], tmp_path, BatchSpec(1, 40, 0.5), seed=3)


def test_what_fades_fades_evenly(photos: Path) -> None:
    """Into one colour, as much as the frame at its time and the network's input say; some show nothing at all."""
    source = Pans(load_photographs(photos), BatchSpec(4, 48, 0.0), max_motion=8, seed=2)
    random = torch.Generator().manual_seed(5)
    faded = empty = 0
    for number in range(12):
        batch = source.make(number)
        result = fade(batch, random)
        assert batch.flow is not None
        assert result.flow is not None
        for before, after in zip(batch.targets, result.targets, strict=True):
            assert before.t == after.t
            assert 0 <= float(after.rgb.min()) <= float(after.rgb.max()) <= 1
            colour = after.rgb - before.rgb * _contrast(after.rgb, before.rgb)
            assert float(colour.std((2, 3)).max()) < 1e-3
        pairs = zip(result.targets, batch.targets, strict=True)
        now, first, last = (_contrast(after.rgb, before.rgb)[:, 0, 0, 0] for after, before in pairs)
        torch.testing.assert_close(now, first + (last - first) * batch.targets[0].t, atol=1e-4, rtol=0)
        hidden = torch.minimum(first, last) <= 0.03
        assert torch.equal(result.flow[:4], batch.flow[:4] * ~hidden[:, None, None, None])
        for target, frame in zip(result.targets[1:], (result.frame0, result.frame1), strict=True):
            assert float((reduce_bicubic(target.rgb, (48, 48)) - frame).abs().median()) < 0.02
        faded += int(((first - last).abs() > 0.1).sum())
        empty += int(hidden.sum())
    assert faded > 12
    assert 8 < empty < 30


def _contrast(faded: Tensor, picture: Tensor) -> Tensor:
    """How much of each picture is left, (B, 1, 1, 1)."""
    a, b = (one - one.mean((2, 3), keepdim=True) for one in (faded, picture))
    return (a * b).sum((1, 2, 3), keepdim=True) / (b * b).sum((1, 2, 3), keepdim=True)


def test_compression_is_real_and_mild() -> None:
    """Both frames come back in their order, changed as H.264 changes them: the more, the coarser it is told to be."""
    generator = torch.Generator().manual_seed(1)
    detail = F.avg_pool2d(torch.rand(2, 3, 43, 57, generator=generator), 3, 1, 1)  # odd sizes, too
    frames = [detail, detail.roll(5, 3) * 0.9]

    def errors(crf: float) -> list[float]:
        back = compress_h264(frames, crf)
        return [float((a - b).square().mean()) for a, b in zip(back, frames, strict=True)]

    fine, coarse = errors(10), errors(30)
    assert all(0 < a < b / 1.5 and b < 0.01 for a, b in zip(fine, coarse, strict=True))
