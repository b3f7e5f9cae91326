"""WarpINR, the variant that our own models use: what holds for any weights, trained or not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr import ModelError, from_state_dict
from vs_videoinr.networks import kernels, warp_blend
from vs_videoinr.networks.warpinr.field import WarpField
from vs_videoinr.networks.warpinr.flow_refinement import refine_lucas_kanade, smooth_consistent_flow
from vs_videoinr.networks.warpinr.frame_detail import FrameDetail, FrameDetailConfig
from vs_videoinr.networks.warpinr.network import WarpINR, WarpINRConfig
from vs_videoinr.networks.warpinr.trunk_detail import TrunkDetailConfig

SMALL = WarpINRConfig(levels=(8, 12, 16), hidden=8, radius=2, detail=FrameDetailConfig(width=16, blocks=2))
THOROUGH = replace(SMALL, detail=TrunkDetailConfig(width=16, blocks=2))
EIGHT = replace(SMALL, detail=TrunkDetailConfig(width=16, blocks=2, self_ensemble=True))


@pytest.fixture(scope="module")
def net() -> WarpINR:
    torch.manual_seed(5)
    return WarpINR(SMALL).requires_grad_(False)


def frames(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    first, second = torch.rand(2, batch, 3, height, width, generator=generator)
    return first, second


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (16, 16), (33, 18)])
def test_any_size_in_gives_the_size_asked_for(net: WarpINR, size: tuple[int, int]) -> None:
    field = net.encode(*frames(*size))
    out = field.sample(0.4, (2 * size[0] + 1, 3 * size[1]))
    assert out.shape == (1, 3, 2 * size[0] + 1, 3 * size[1])
    assert out.isfinite().all()


@pytest.mark.parametrize("config", [SMALL, THOROUGH])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_a_source_time_looks_at_its_own_frame_and_the_detail_of_the_other(t: float, config: WarpINRConfig) -> None:
    """At t = 0 the picture is frame 0 enlarged, plus what is known of its detail; at t = 1 frame 1."""
    torch.manual_seed(5)
    net = WarpINR(config).requires_grad_(False)
    pair = frames(12, 20)
    before = net.encode(*pair).sample(t, (24, 40))
    plain = F.interpolate(pair[int(t)], (24, 40), mode="bicubic", antialias=True)
    assert 1e-4 < (before - plain).abs().max() < 0.3
    changed = net.encode(*pair)
    (changed.pair_motion.frame1 if t == 0 else changed.pair_motion.frame0).fill_(0.7)
    assert (changed.sample(t, (24, 40)) != before).any()


def test_at_their_own_size_frames_are_what_they_were(net: WarpINR) -> None:
    """Nothing is missing from them there, so nothing may be added, whoever only asks for more frames."""
    pair = frames(12, 20)
    field = net.encode(*pair)
    for t, frame in enumerate(pair):
        assert torch.equal(field.sample(t, (12, 20)), frame)
        assert not torch.equal(
            field.sample(t, (13, 20)), F.interpolate(frame, (13, 20), mode="bicubic", antialias=True)
        )


def test_a_still_clip_is_the_same_at_every_time(net: WarpINR) -> None:
    frame = frames(12, 20)[0]
    field = net.encode(frame, frame)
    start = field.sample(0, (30, 50))
    for t in (0.2, 0.5, 0.9, 1.0):
        torch.testing.assert_close(field.sample(t, (30, 50)), start, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, THOROUGH])
def test_a_frame_that_is_held_is_enlarged_like_one_without_neighbours(config: WarpINRConfig) -> None:
    torch.manual_seed(5)
    net = WarpINR(config).requires_grad_(False)
    frame = frames(13, 5, batch=2)[0]
    alone = net.enlarge(frame, [], torch.zeros(2, 1, 13, 5, dtype=torch.bool), (39, 10))
    torch.testing.assert_close(net.encode(frame, frame).sample(0, (39, 10)), alone, rtol=0, atol=1e-5)


def test_flow_of_less_than_a_pixel_rests_where_nothing_changes(net: WarpINR) -> None:
    """In a corner of the picture something changes; nothing moves where that is far, and it still moves there."""
    first = frames(40, 40)[0]
    second = first.clone()
    second[..., :8, :8] = 1 - second[..., :8, :8]
    field = net.encode(first, second)
    assert field.pair_motion.flow01[..., :8, :8].abs().min() > 0
    far = field.pair_motion.flow01[..., 26:, 26:]
    assert far.shape[-1] == 14
    assert (far == 0).all()


def test_a_still_pair_can_be_learned_from() -> None:
    """Where nothing moves, too, every gradient is a number, or training would skip what stands still."""
    torch.manual_seed(5)
    learner = WarpINR(SMALL)
    frame = frames(12, 20)[0]
    learner.encode(frame, frame).sample(0.4, (24, 40)).square().mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in learner.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_what_is_near_a_source_time_looks_like_it(net: WarpINR, t: float) -> None:
    field = net.encode(*frames(16, 24))
    near = field.sample(abs(t - 1e-5), (40, 60))
    torch.testing.assert_close(near, field.sample(t, (40, 60)), rtol=0, atol=2e-3)


def test_a_picture_is_the_callers_own(net: WarpINR) -> None:
    """Whoever changes what `sample` returned changes no later picture."""
    field = net.encode(*frames(12, 20))
    for t in (0.0, 0.5):
        before = field.sample(t, (24, 40))
        kept = before.clone()
        before.fill_(0)
        torch.testing.assert_close(field.sample(t, (24, 40)), kept, rtol=0, atol=0)


def test_sizes_by_turns(net: WarpINR) -> None:
    field = net.encode(*frames(12, 20))
    sizes = ((24, 40), (12, 20), (31, 47))
    first = [field.sample(0.5, size) for size in sizes]
    for size, picture in zip(sizes, first, strict=True):
        torch.testing.assert_close(field.sample(0.5, size), picture, rtol=0, atol=0)


def test_what_a_field_keeps_is_counted(net: WarpINR) -> None:
    """Both frames at the size last asked for, in single precision, and no other size; the flow at the last time.

    For kernels a pixel is four numbers, and there are borders.
    """
    field = net.encode(*frames(12, 20))
    before = field.nbytes()
    flow = 4 * 12 * 20 * 4
    for height, width in ((48, 80), (30, 50)):
        field.sample(0.5, (height, width))
        border = 2 * kernels.BORDER
        frame = 4 * (height + border) * (width + border) if kernels.available() else 3 * height * width
        assert field.nbytes() == before + 2 * frame * 4 + flow


def test_motion_is_the_same_before_and_after_a_frame_is_made(net: WarpINR) -> None:
    field = net.encode(*frames(12, 20))
    motion = field.motion(0.3, (24, 40))
    for t in (0.6, 0.3):
        field.sample(t, (48, 80))
    assert torch.equal(field.motion(0.3, (24, 40)), motion)
    assert not torch.equal(field.motion(0.6, (24, 40)), motion)


def test_chunks_change_nothing(net: WarpINR, monkeypatch: pytest.MonkeyPatch) -> None:
    field = net.encode(*frames(16, 24))
    whole = field.sample(0.3, (56, 84))
    monkeypatch.setattr(warp_blend, "CHUNK_PIXELS", 84 * 5)
    monkeypatch.setattr(warp_blend, "KERNEL_PIXELS", 84 * 5)
    torch.testing.assert_close(field.sample(0.3, (56, 84)), whole, rtol=0, atol=1e-6)


def test_a_batch_is_its_members(net: WarpINR) -> None:
    # Of noise, what rounding makes of a motion can be anything.
    first, second = (F.interpolate(small, scale_factor=4, mode="bicubic") for small in frames(4, 6, batch=2))
    both = net.encode(first, second).sample(0.6, (32, 48))
    for index in range(2):
        one = net.encode(first[index : index + 1], second[index : index + 1]).sample(0.6, (32, 48))
        torch.testing.assert_close(both[index : index + 1], one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, THOROUGH, replace(SMALL, levels=(8, 12), radius=1)])
def test_sizes_are_read_off_the_checkpoint(config: WarpINRConfig) -> None:
    torch.manual_seed(5)
    net = WarpINR(config).requires_grad_(False)
    again = from_state_dict(net.state_dict())
    assert isinstance(again, WarpINR)
    assert again.config == config
    pair = frames(9, 14)
    torch.testing.assert_close(again.encode(*pair).sample(0.5, (20, 30)), net.encode(*pair).sample(0.5, (20, 30)))


def test_work_can_be_abandoned_between_chunks(net: WarpINR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp_blend, "CHUNK_PIXELS", 48)
    field = net.encode(*frames(16, 24))
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        field.sample(0.5, (32, 48), check=check)
    assert len(calls) == 3


def test_a_known_shift_is_followed() -> None:
    """With flows that are right, the middle frame of a pan is the pan's middle."""
    torch.manual_seed(0)
    net = WarpINR(SMALL).requires_grad_(False)
    assert isinstance(net.detail, FrameDetail)
    net.detail.out.weight.zero_()
    line = torch.arange(48.0)

    def wave(shift: float) -> Tensor:
        return (0.5 + 0.3 * torch.sin((line - shift) * 0.4)).expand(1, 3, 20, 48).contiguous()

    field = net.encode(wave(0), wave(4))
    field.pair_motion.flow01[:] = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1)
    field.pair_motion.flow10[:] = torch.tensor([-4.0, 0.0]).view(1, 2, 1, 1)
    middle = field.sample(0.5, (20, 48))
    torch.testing.assert_close(middle[..., 8:-8], wave(2)[..., 8:-8], rtol=0, atol=0.01)


def test_a_flow_that_is_nearly_right_is_made_exact() -> None:
    """A pan of fractions of a pixel, found to a few hundredths of one from half a pixel away."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    big = F.interpolate(coarse, size=(384, 512), mode="bicubic", align_corners=False)
    # the same picture twice, moved by 2.5 and -0.75 pixels before it is reduced by 4
    first, second = (F.avg_pool2d(big[..., 20 + y : 340 + y, 20 + x : 468 + x], 4) for x, y in ((0, 0), (-10, 3)))
    truth = torch.tensor([2.5, -0.75]).view(1, 2, 1, 1)
    guess = truth.expand(1, 2, 80, 112) + torch.tensor([0.4, -0.3]).view(1, 2, 1, 1)
    found = refine_lucas_kanade(guess, first, second, radius=3, damping=1e-6)
    miss = (found - truth).square().sum(1).sqrt()[..., 6:-6, 6:-6]
    assert miss.median() < 0.05
    torch.testing.assert_close(
        refine_lucas_kanade(torch.zeros_like(guess), first, first, 2, 1e-3), torch.zeros_like(guess)
    )


def test_the_noise_of_a_flow_is_evened_out_but_not_what_moves_apart() -> None:
    """Two halves that slide along each other: less than half of the noise stays, and neither takes over the other's."""
    truth = torch.zeros(2, 2, 48, 48)
    truth[0, 0, :24], truth[0, 0, 24:] = 3.0, -2.0
    truth[1] = -truth[0]
    noisy = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(7))
    found = smooth_consistent_flow(noisy)
    miss, before = ((flow - truth).square().sum(1).sqrt()[..., 4:-4] for flow in (found, noisy))
    assert miss.mean() < 0.5 * before.mean()
    assert miss.max() < 0.5
    torch.testing.assert_close(smooth_consistent_flow(truth), truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 40), (13, 21)])
def test_turned_pictures_give_the_same_detail_turned(size: tuple[int, int]) -> None:
    """Of a frame that is held, and whatever its size; a network that looks at it only one way does not do that."""
    torch.manual_seed(5)
    once = WarpINR(THOROUGH).requires_grad_(False).eval()
    eight = WarpINR(EIGHT).requires_grad_(False).eval()
    eight.load_state_dict(once.state_dict())
    frame, (height, width) = frames(*size)[0], (2 * size[0], 2 * size[1])
    for net, most, least in ((once, 1, 1e-3), (eight, 1e-5, 0)):
        straight = net.encode(frame, frame).sample(0, (height, width))
        mirrored = net.encode(frame.flip(-1), frame.flip(-1)).sample(0, (height, width)).flip(-1)
        upright = net.encode(frame.mT, frame.mT).sample(0, (width, height)).mT
        for other in (mirrored, upright):
            assert least <= (other - straight).abs().max() <= most


def test_what_is_turned_knows_its_neighbours_and_only_the_detail_changes() -> None:
    torch.manual_seed(5)
    once = WarpINR(THOROUGH).requires_grad_(False).eval()
    eight = WarpINR(EIGHT).requires_grad_(False).eval()
    eight.load_state_dict(once.state_dict())
    first, second = frames(24, 40)
    other = frames(24, 40, batch=3)[1][2:]
    fields = [
        net.encode(first, second).with_neighbours(net.encode(other, first).pair_motion, None) for net in (once, eight)
    ]
    for t in (0, 0.4, 1):
        pictures = [field.sample(t, (30, 50)) for field in fields]
        assert 1e-4 < (pictures[0] - pictures[1]).abs().max() < 0.3
        assert torch.equal(*(field.motion(t, (30, 50)) for field in fields))
    assert torch.equal(*(field.sample(0.4, (24, 40)) for field in fields))  # where there is no detail to be added
    alone = eight.encode(first, second)
    assert not torch.equal(alone.sample(0, (30, 50)), fields[1].sample(0, (30, 50)))
    eight.train()  # which is looking at everything once, for it takes long enough
    assert torch.equal(eight.encode(first, second).sample(0, (30, 50)), once.encode(first, second).sample(0, (30, 50)))


def test_whether_it_looks_eight_times_is_on_the_card() -> None:
    state = WarpINR(THOROUGH).state_dict()
    network = from_state_dict(state, {"self_ensemble": True})
    assert network.config == EIGHT
    assert network.settings() == {"self_ensemble": True}
    assert from_state_dict(state).settings() == {}
    for settings, problem in (
        ({"self_ensemble": 8}, "'self_ensemble' is neither true nor false"),
        ({"turn": True}, "'turn' is not"),
    ):
        with pytest.raises(ModelError, match=problem):
            from_state_dict(state, settings)
    with pytest.raises(ModelError, match="'self_ensemble' is not known"):
        from_state_dict(WarpINR(SMALL).state_dict(), {"self_ensemble": True})


def test_neighbours_bend_the_ways_between_the_frames_only(net: WarpINR) -> None:
    field = net.encode(*frames(24, 40))
    one = torch.ones_like(field.pair_motion.static.rest)
    static = replace(field.pair_motion.static, rest=one, reach=one)  # that tells nothing of detail, which has its test
    own = replace(field.pair_motion, static=static)
    assert own.flow01.abs().max() > 0.1
    even = replace(own, flow01=-own.flow10, flow10=-own.flow01)  # moved as it goes on, before and after
    faster = replace(own, flow01=-own.flow10 * 2, flow10=-own.flow01 / 2)
    blank = replace(faster, static=replace(static, reach=2 * one))
    alone = field.sample(0.4, (30, 50))
    for told in ((None, None), (even, even), (blank, blank)):
        torch.testing.assert_close(field.with_neighbours(*told).sample(0.4, (30, 50)), alone, rtol=0, atol=1e-5)
    for before, after in ((faster, None), (None, faster), (faster, faster)):
        bent = field.with_neighbours(before, after)
        assert (bent.sample(0.4, (30, 50)) - alone).abs().max() > 1e-3
        assert (bent.motion(0.4, (30, 50)) - field.motion(0.4, (30, 50))).abs().max() > 0.01
        for t in (0, 1):
            torch.testing.assert_close(bent.sample(t, (30, 50)), field.sample(t, (30, 50)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", [SMALL, THOROUGH])
def test_neighbours_tell_of_detail_where_something_changes(config: WarpINRConfig) -> None:
    """Each frame of a pair is made better by the one on its other side, whatever was known when it was last asked for.

    One that repeats the frame tells nothing.
    """
    torch.manual_seed(5)
    net = WarpINR(config).requires_grad_(False)
    first, second = frames(24, 40)
    other = frames(24, 40, batch=3)[1][2:]
    field, size = net.encode(first, second), (30, 50)
    alone = [field.sample(t, size) for t in (0, 1)]
    before, after = net.encode(other, first).pair_motion, net.encode(second, other).pair_motion
    for told in ((before, after), (None, None), (before, None), (None, after)) * 2:
        seen = [field.with_neighbours(*told).sample(t, size) for t in (0, 1)]
        assert [torch.equal(a, b) for a, b in zip(seen, alone, strict=True)] == [pair is None for pair in told]
    still = [net.encode(first, first).pair_motion, net.encode(second, second).pair_motion]
    assert not any(motion.informative.any() for motion in still)
    for t in (0, 1):
        torch.testing.assert_close(field.with_neighbours(*still).sample(t, size), alone[t], rtol=0, atol=1e-5)


@pytest.mark.parametrize("faded", [False, True])
def test_what_is_known_of_a_frame_from_the_pair_before_changes_no_bit(net: WarpINR, faded: bool) -> None:
    """It is taken over once, and not where the frame would have to be exposed otherwise."""
    first, second = frames(37, 50)
    third = frames(37, 50, batch=3)[1][2:] if not faded else second * 0.6
    before = net.encode(first, second)
    without = before.nbytes()
    following = net.encode(second, third, previous=before)
    assert (before.nbytes() < without) == (not faded)
    alone = net.encode(second, third)
    assert torch.equal(following.sample(0.4, (50, 60)), alone.sample(0.4, (50, 60)))
    assert torch.equal(net.encode(second, third, previous=before).motion(0.4, (37, 50)), alone.motion(0.4, (37, 50)))


def test_a_frame_between_two_pairs_is_enlarged_once(net: WarpINR, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever pair and time ask for it first, in whatever order: the bits are the same."""
    enlarged = []
    enlarge = WarpINR.enlarge

    def counting(self: WarpINR, frame: Tensor, *more: Any) -> Tensor:
        enlarged.append(frame)
        return enlarge(self, frame, *more)

    monkeypatch.setattr(WarpINR, "enlarge", counting)
    shown = [frames(16, 24, batch=seed)[1][-1:] for seed in (1, 2, 3, 4)]

    def film() -> list[WarpField]:
        """The fields of a clip, each of which knows the pairs around it."""
        fields = [net.encode(*pair) for pair in itertools.pairwise(shown)]
        motions = [None, *(field.pair_motion for field in fields), None]
        return [field.with_neighbours(*around) for field, *around in zip(fields, motions, motions[2:], strict=False)]

    asked = [(number, t) for number in range(3) for t in (0, 0.3, 0.7, 1)]
    played, sought = film(), film()
    forward = {(number, t): played[number].sample(t, (32, 48)) for number, t in asked}
    assert len(enlarged) == len(shown)
    for number, t in sorted(asked, key=lambda which: (which[1], -which[0])):
        assert torch.equal(sought[number].sample(t, (32, 48)), forward[number, t])
