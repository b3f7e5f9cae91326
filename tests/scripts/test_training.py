"""The training data says what is true, and training goes on exactly where it stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

Train = Callable[..., Path]
SOURCES = ("photographs", "wide", "pans", "drawings", "stills", "clips", "held drawings", "held stills")
ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "tests" / "data" / "bunny.mp4"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with fine detail, large enough to be cut from."""
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(2)
    for name in ("a", "b"):
        detail = sum(
            F.interpolate(torch.rand(1, 3, n, n, generator=generator), size=(700, 700), mode="bicubic") * n**-0.5
            for n in (9, 40, 160)
        )
        assert isinstance(detail, Tensor)
        picture = ((detail - detail.min()) / (detail.max() - detail.min()) * 255).byte()[0].permute(1, 2, 0)
        Image.fromarray(picture.numpy()).save(folder / f"{name}.jpg", quality=95)
    return folder


def test_the_motion_of_photographs_leads_from_one_frame_to_the_other(photos: Path) -> None:
    from scripts.data.batch import Kind
    from scripts.data.photographs import Photographs, load
    from vs_videoinr.model.motion import warp

    source = Photographs(load(photos, CPU), Kind(4, 64, 64, 0.5), reach=8, seed=4)
    still = moved = 0.0
    for number in range(6):
        batch = source.make_motion(number)
        assert batch.flow is not None
        back = (warp(batch.frame1, batch.flow[:4]) - batch.frame0).abs()[..., 8:-8, 8:-8]
        still += float((batch.frame1 - batch.frame0).abs()[..., 8:-8, 8:-8].median())
        moved += float(back.median())
    assert moved < still / 3  # what is left is the price of resampling


def test_detail_is_looked_for(photos: Path) -> None:
    from scripts.data.photographs import load, most_detailed

    fine = load(photos, CPU)[0][:, :60, :90]  # smaller than what is wanted
    flat = torch.full((3, 200, 200), 90, dtype=torch.uint8)
    random = torch.Generator().manual_seed(1)
    pieces = [most_detailed([flat, fine], (100, 100), 80, random) for _ in range(80)]
    assert all(piece.shape == (3, 100, 100) for piece in pieces)
    assert all(0 <= float(piece.min()) <= float(piece.max()) <= 1 for piece in pieces)
    detailed = sum(float(piece.std()) > 0.01 for piece in pieces)
    assert 60 < detailed < 80  # all three that are compared are flat now and then


def test_pans_are_exact(photos: Path) -> None:
    from scripts.data.batch import Kind, shrink
    from scripts.data.pans import Pans
    from scripts.data.photographs import load

    source = Pans(load(photos, CPU), Kind(3, 48, 1000, 0.0), reach=8, seed=2)
    clean = motions = 0
    for number in range(12):
        batch = source.make(number)
        now, first, last = batch.targets
        assert (first.t, last.t) == (0, 1)
        assert 0 < now.t < 1
        assert batch.flow is not None
        seen = [shrink(target.rgb, (48, 48)) for target in (first, last)]
        if not (torch.equal(seen[0], batch.frame0) and torch.equal(seen[1], batch.frame1)):
            continue  # one of the disturbed
        clean += 1
        high = batch.size[0]
        ways = batch.flow[:3, :, 0, 0] * (high / 48)
        assert torch.equal(batch.flow[3:], -batch.flow[:3])
        for one, way in enumerate(ways):
            x, y = (round(float(length)) for length in way)
            motions += (x, y) != (0, 0)
            # what lies at a place of the first frame lies `way` further on in the last one, and so far at every time
            there = torch.roll(last.rgb[one], (-y, -x), (1, 2))
            inner = slice(high // 3, -high // 3)
            assert torch.equal(there[:, inner, inner], first.rgb[one][:, inner, inner])
            there = torch.roll(now.rgb[one], (-round(y * now.t), -round(x * now.t)), (1, 2))
            assert torch.equal(there[:, inner, inner], first.rgb[one][:, inner, inner])
    assert clean > 6
    assert motions > 12


def test_frames_follow_one_another_evenly_enough_to_be_neighbours(photos: Path) -> None:
    """The middle frame is what its truth becomes; the one beyond lies as far from the last as the middle one."""
    from scripts.data.batch import Kind, shrink
    from scripts.data.pans import Pans
    from scripts.data.photographs import Photographs, load
    from vs_videoinr.model.motion import warp

    images, kind = load(photos, CPU), Kind(3, 48, 1000, 0.0)
    clean = 0
    for number in range(8):
        for source in (Pans(images, kind, 6, seed=2), Photographs(images, kind, 6, seed=2)):
            batch = source.make(number)
            assert batch.middle is not None
            assert batch.beyond is not None
            middle, target = batch.middle
            if torch.equal(shrink(batch.targets[1].rgb, (48, 48)), batch.frame0):  # one of those that are not disturbed
                assert torch.equal(shrink(target.rgb, (48, 48)), middle)
                clean += 1
        batch = Pans(images, kind, 6, seed=2).make(number)
        assert batch.middle is not None
        assert batch.beyond is not None
        assert batch.flow is not None
        t, there = batch.middle[1].t, batch.flow[:3]
        for one, other, share in (
            (batch.frame0, batch.middle[0], t),
            (batch.middle[0], batch.frame1, 1 - t),
            (batch.frame1, batch.beyond, 1 - t),
        ):
            moved = (warp(other, there * share) - one).abs()[..., 10:-10, 10:-10].mean()
            assert moved < 0.3 * (other - one).abs()[..., 10:-10, 10:-10].mean() + 0.02
    assert clean > 10


def test_drawings_have_edges_that_lie_anywhere_between_pixels(photos: Path) -> None:
    from scripts.data.drawings import draw
    from scripts.data.photographs import load

    grounds = load(photos, CPU)
    drawings = draw(8, grounds, seed=3)
    assert all(torch.equal(one, again) for one, again in zip(drawings, draw(8, grounds, seed=3), strict=True))
    assert not torch.equal(drawings[0], draw(1, grounds, seed=4)[0])
    for drawing in drawings:
        green = drawing[1].double()
        steep = (green[1:] - green[:-1]).abs() > 60
        # in most lines there are edges, as far apart as things are, and not everywhere
        assert 0.0005 < float(steep.double().mean()) < 0.2
        # where an edge is crossed, its middle is as often any grey between both sides as one of both
        low, middle, high = green[:-2], green[1:-1], green[2:]
        share = ((middle - low) / (high - low))[(high - low).abs() > 100]
        assert float(((share > 0.1) & (share < 0.9)).double().mean()) > 0.2


def test_stills_are_frames_and_want_nothing_between_them(tmp_path: Path) -> None:
    from scripts.data.batch import Kind, shrink
    from scripts.data.clips import cached, stills
    from scripts.data.pans import Pans

    clip = _named(CLIP, tmp_path)
    frames = torch.from_numpy(cached(clip, tmp_path).copy()).permute(0, 3, 1, 2)
    pictures = stills([clip], tmp_path, CPU)
    assert 1 <= len(pictures) < len(frames)
    assert all((frames == picture).all((1, 2, 3)).any() for picture in pictures)
    source = Pans(pictures, Kind(2, 24, 1000, 0.0), reach=2, seed=1, between=False)
    for number in range(4):
        batch = source.make(number)
        assert batch.flow is None
        assert [target.t for target in batch.targets] == [0, 1]
        for target, frame in zip(batch.targets, (batch.frame0, batch.frame1), strict=True):
            assert float((shrink(target.rgb, (24, 24)) - frame).abs().median()) < 0.02
    tiny = Pans(pictures, Kind(1, 6, 1000, 0.0), reach=2, seed=1, between=False)
    assert min(tiny.make(number).size[0] for number in range(60)) == 7  # at 6 there would be nothing to learn


def test_pictures_that_are_held_are_one_frame_and_what_it_shows(photos: Path) -> None:
    from scripts.data.batch import Kind, shrink
    from scripts.data.photographs import load
    from scripts.data.single_frames import Held

    source = Held(load(photos, CPU), Kind(2, 24, 1000, 0.0), seed=1)
    clean, sizes = 0, []
    for number in range(40):
        batch = source.make(number)
        assert batch.frame0 is batch.frame1
        (target,) = batch.targets
        assert target.t == 0
        assert target.window == (0, 0, *batch.size)
        change = (shrink(target.rgb, (24, 24)) - batch.frame0).abs()
        clean += float(change.max()) == 0
        assert float(change.median()) < 0.02
        sizes.append(batch.size[0])
    assert 30 <= clean < 40  # the others are disturbed on purpose, slightly
    assert max(sizes) == 96
    assert 15 <= sizes.count(96) < 40
    assert 24 < min(sizes) < 48


def test_some_pictures_that_are_held_have_bars_and_are_whole_beside_them() -> None:
    from scripts.data.bars import SHARE, barred

    random, scale, side = torch.Generator().manual_seed(1), 4.0, 192
    picture = torch.rand(3, side, side)
    ringing = 2  # full-size pixels beside a bar that its edge may change
    sides, widths, opposite = set(), [], 0
    for _ in range(1000):
        changed = (barred(picture, scale, random) != picture).any(0)
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
    assert 0.7 * SHARE < (len(widths) - opposite) / 1000 < 1.3 * SHARE
    assert 0.4 < sum(width < scale + ringing for width in widths) / len(widths) < 0.7  # lines, most of them
    assert sum(scale < width < 2 * scale for width in widths) > 20
    assert sum(width > 4 * scale for width in widths) > 20
    assert opposite > 20

    level = torch.full((3, side, side), 0.5)
    lined = [made for made in (barred(level, scale, random) for _ in range(1000)) if not torch.equal(made, level)]
    rings = sum(bool((one > 0.505).any() and (one < 0.495).any()) for one in lined)
    assert 0.25 < rings / len(lined) < 0.6
    assert 0.4 < sum(bool(one.min() < 0.1) for one in lined) / len(lined) < 0.8  # the others: grey, seen through
    coloured = sum(bool((one[0] != one[1]).any()) for one in lined)
    assert 0.05 < coloured / len(lined) < 0.3


def test_targets_are_what_the_network_sees_only_larger(photos: Path) -> None:
    from scripts.data.batch import Kind, shrink
    from scripts.data.photographs import Photographs, load

    source = Photographs(load(photos, CPU), Kind(2, 32, 1000, 0.0), reach=4, seed=1)  # compression: see below
    clean = 0
    for number in range(16):
        batch = source.make(number)
        between, *sources = batch.targets
        assert 0 < between.t < 1
        assert [target.t for target in sources] == [0, 1]
        for target, frame in zip(sources, (batch.frame0, batch.frame1), strict=True):
            assert target.window == (0, 0, *batch.size)
            change = (shrink(target.rgb, (32, 32)) - frame).abs()
            clean += float(change.max()) == 0
            assert float(change.median()) < 0.02  # some batches are disturbed on purpose, slightly
    assert 24 <= clean < 32  # of the frames


def test_clips_give_true_frames_at_true_times(tmp_path: Path) -> None:
    from scripts.data.batch import Kind
    from scripts.data.clips import Clips, cached

    frames = torch.from_numpy(cached(_named(CLIP, tmp_path), tmp_path).copy())
    source = Clips([_named(CLIP, tmp_path)], tmp_path, Kind(1, 24, 1000, 0.5), CPU, seed=3)
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


def test_what_fades_fades_evenly(photos: Path) -> None:
    """Into one colour, as much as the frame at its time and the network's input say; some show nothing at all."""
    from scripts.data.batch import Kind, shrink
    from scripts.data.fades import fade
    from scripts.data.pans import Pans
    from scripts.data.photographs import load

    source = Pans(load(photos, CPU), Kind(4, 48, 1000, 0.0), reach=8, seed=2)
    random = torch.Generator().manual_seed(5)
    faded = empty = 0
    for number in range(12):
        batch = source.make(number)
        result = fade(batch, random)
        assert batch.flow is not None
        assert result.flow is not None
        for before, after in zip(batch.targets, result.targets, strict=True):
            assert (before.t, before.window) == (after.t, after.window)
            assert 0 <= float(after.rgb.min()) <= float(after.rgb.max()) <= 1
            colour = after.rgb - before.rgb * _contrast(after.rgb, before.rgb)
            assert float(colour.std((2, 3)).max()) < 1e-3
        pairs = zip(result.targets, batch.targets, strict=True)
        now, first, last = (_contrast(after.rgb, before.rgb)[:, 0, 0, 0] for after, before in pairs)
        torch.testing.assert_close(now, first + (last - first) * batch.targets[0].t, atol=1e-4, rtol=0)
        hidden = torch.minimum(first, last) <= 0.03
        assert torch.equal(result.flow[:4], batch.flow[:4] * ~hidden[:, None, None, None])
        for target, frame in zip(result.targets[1:], (result.frame0, result.frame1), strict=True):
            assert float((shrink(target.rgb, (48, 48)) - frame).abs().median()) < 0.02
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
    from scripts.data.batch import compress

    generator = torch.Generator().manual_seed(1)
    detail = F.avg_pool2d(torch.rand(2, 3, 43, 57, generator=generator), 3, 1, 1)  # odd sizes, too
    frames = [detail, detail.roll(5, 3) * 0.9]

    def errors(crf: float) -> list[float]:
        back = compress(frames, crf)
        return [float((a - b).square().mean()) for a, b in zip(back, frames, strict=True)]

    fine, coarse = errors(10), errors(30)
    assert all(0 < a < b / 1.5 and b < 0.01 for a, b in zip(fine, coarse, strict=True))


def _named(clip: Path, folder: Path) -> Path:
    """The clip under a name that ends in its frame rate."""
    link = folder / "bunny_25.mp4"
    if not link.exists():
        link.symlink_to(clip)
    return link


def test_every_parameter_learns_and_kernels_in_all_directions() -> None:
    from scripts.training.optimiser import Optimiser
    from vs_videoinr.model.warpinr import WarpINR

    torch.manual_seed(3)
    net = WarpINR(WarpINR.Config(levels=(8, 8), hidden=8, radius=1, width=8, blocks=1, lattice=8))
    net.to(memory_format=torch.channels_last)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimiser = Optimiser(net, rate=0.01, motion_rate=0.001)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
        parameter.grad.flatten()[0] = 100  # one direction is far steeper than the others
    optimiser.step(0.5)
    assert all(parameter.grad is None for parameter in net.parameters())

    step = {name: parameter.detach() - before[name] for name, parameter in net.named_parameters()}
    for name, change in step.items():
        longest = 0.0005 if name.startswith(("pyramid.", "flow.")) else 0.005
        assert 0 < float(change.square().mean().sqrt()) < longest * 1.01, name
    kernel = torch.linalg.svdvals(step["trunk.0.conv1.weight"].flatten(1))
    assert float(kernel.max() / kernel.min()) < 2.5


@pytest.fixture
def train(photos: Path, tmp_path: Path) -> Train:
    """Runs the script on a tiny network for some steps; returns the file of its averaged weights."""
    clips = tmp_path / "clips"
    clips.mkdir()
    _named(CLIP, clips)

    def run(
        folder: str,
        steps: int,
        workers: int = 0,
        network: dict[str, object] | None = None,
        shares: dict[str, float] | None = None,
        **more: object,
    ) -> Path:
        config = {
            "name": "tiny",
            "architecture": "warpinr",
            "network": {"levels": [8, 8], "hidden": 8, "radius": 1, "width": 8, "blocks": 1, "lattice": 8}
            | (network or {}),
            "data": {
                "photos": str(photos),
                "clips": str(clips),
                "val": str(clips),
                "shares": shares or dict.fromkeys(SOURCES, 0.2),
                "drawn": 2,
                "fades": 0.3,
                "batch": 1,
                "side": 24,
                "alone": {"batch": 2, "side": 16},
                "window": 24,
                "compressed": 0.5,
                "reach": 4,
                "workers": workers,
            },
            "budget": {"minutes": 1e6, "steps": steps},
            "motion_share": 0.0,
            "learn": [""],
            "neighbours": 0.3,
            "rate": 0.001,
            "motion_rate": 0.001,
            "warmup": 1000000,  # the rate must not depend on where this run is to end
            "clip": 0.2,
            "ema": 0.9,
            "flow_weight": 0.01,
            "precision": "float32",
            "seed": 1,
            **more,
        }
        file = tmp_path / "tiny.yaml"
        file.write_text(yaml.safe_dump(config))
        command: list[str | Path] = [sys.executable, "-m", "scripts.train", file, "--run", tmp_path / folder]
        subprocess.run([*command, "--device", "cpu"], check=True, cwd=ROOT, capture_output=True, timeout=300)
        return tmp_path / folder / "tiny.safetensors"

    return run


def test_training_stopped_and_resumed_is_training_that_never_stopped(train: Train) -> None:
    straight = load_file(train("straight", 6))
    first = load_file(train("resumed", 3))
    resumed = load_file(train("resumed", 6, workers=2))  # batches made ahead are the same batches
    assert any(not torch.equal(first[name], straight[name]) for name in straight)
    for name, tensor in straight.items():
        torch.testing.assert_close(resumed[name], tensor, msg=name)


@pytest.mark.parametrize("source", ["drawings", "stills", "held drawings", "held stills"])
def test_pictures_alone_teach_detail_and_leave_motion_as_it_was(train: Train, source: str) -> None:
    first, later = (load_file(train("alone", steps, shares={source: 1})) for steps in (1, 4))
    moving = [name for name in first if name.startswith(("pyramid.", "flow."))]
    assert moving
    assert all(torch.equal(first[name], later[name]) for name in moving)
    assert not torch.equal(first["decoder.detail.patterns.weight"], later["decoder.detail.patterns.weight"])


def test_only_what_is_named_learns(train: Train) -> None:
    first, later = (
        load_file(train("named", steps, learn=["decoder.backprojection"], neighbours=1, warmup=1)) for steps in (1, 6)
    )
    learned = {name for name in first if not torch.equal(first[name], later[name])}
    assert {f"decoder.backprojection.rounds.{n}.gather.weight" for n in range(3)} <= learned
    assert "decoder.backprojection.trust.bias" in learned
    assert all(name.startswith("decoder.backprojection.") for name in learned)


def test_a_deeper_network_begins_where_a_shallower_one_ended(train: Train) -> None:
    from vs_videoinr import weights

    shallow = train("shallow", 1)
    deep = train("deep", 1, network={"blocks": 3, "turned": True}, start=str(shallow))
    features = torch.rand(1, 8, 16, 16)
    before, after = (weights.load(path).get_submodule("trunk")(features) for path in (shallow, deep))
    assert not torch.equal(before, features)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    assert [weights.load(path).config.turned for path in (shallow, deep)] == [False, True]
