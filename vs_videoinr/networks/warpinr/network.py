"""WarpINR: the variant of VideoINR that our own models use.

It keeps the paper's plan (encode a pair once; then a space-time coordinate is led by a flow to both frames, and a
picture is made of what is there) and changes what makes it slow to learn and to run:

* motion comes from a coarse-to-fine flow between the frames, estimated once per pair (`flow_estimator.py`) and then
  made exact by what the pictures themselves say (`flow_refinement.py`);
* a frame is enlarged once per size, whatever pairs and times ask for it: bicubic, and a residual detail that is
  predicted from the frame itself and the ones before and after it, the light way (`frame_detail.py`) or the thorough
  one (`trunk_detail.py`); none at the frames' own size;
* a picture at time t is both frames, warped and blended (`fusion.py`); where nothing changes, or there is nothing to be
  seen, nothing moves, so a still picture stays still (`static_regions.py`);
* what moves need not move evenly: the motion of the pairs before and after bends its way;
* motion is looked for in frames of the same exposure, so that fades are none (`exposure.py`);
* sampling uses one consistent grid (pixel centres) and border padding everywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.networks import bands
from vs_videoinr.networks.base import Network, Shapes, VideoField
from vs_videoinr.networks.cancellation import between_layers
from vs_videoinr.networks.sampling import (
    bicubic_support,
    resize_bicubic,
    resize_bicubic_axis,
    resize_bicubic_rows,
)
from vs_videoinr.networks.warpinr.blocks import FLOW, pad_to_multiple
from vs_videoinr.networks.warpinr.exposure import Exposure
from vs_videoinr.networks.warpinr.field import WarpField
from vs_videoinr.networks.warpinr.flow_estimator import Features, FlowEstimator, Pyramid, other_frame, upsample_flow
from vs_videoinr.networks.warpinr.flow_refinement import refine_lucas_kanade, smooth_consistent_flow
from vs_videoinr.networks.warpinr.frame_detail import FrameDetail, FrameDetailConfig
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.pair_motion import PairMotion
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE
from vs_videoinr.networks.warpinr.stages import Stage
from vs_videoinr.networks.warpinr.static_regions import StaticRegions, static_bars, static_mask
from vs_videoinr.networks.warpinr.trunk_detail import TrunkDetail, TrunkDetailConfig

#: Around a tile of which a `TrunkDetail` makes detail; and the least side of a tile, in pixels.
TILE_MARGIN_PX, MIN_TILE_PX = 48, 32

#: How much a frame may take before it is cut into tiles, whose margins are made several times, and how much a tile may,
#: in what a band does: 854x480 is not cut on a CPU.
UNTILED_BANDS, TILE_BANDS = 10, 8


@dataclass(frozen=True)
class WarpINRConfig:
    """Sizes of a `WarpINR`, which can be read off a checkpoint's shapes, and how it is used, which cannot.

    Attributes:
        levels: Channels of the frame pyramid, full size first; that is for a `TrunkDetail`, see `Pyramid`.
        hidden: Channels of the state passed down the flow estimator.
        radius: Of the correlation, in pixels of its level.
        detail: How residual detail is predicted.
        without: Stages that are left out.
    """

    levels: tuple[int, ...] = (48, 32, 48, 64, 64)
    hidden: int = 32
    radius: int = 3
    detail: FrameDetailConfig | TrunkDetailConfig = field(default_factory=FrameDetailConfig)
    without: frozenset[Stage] = frozenset()


class WarpINR(Network):
    """The variant of VideoINR described at the top of this module."""

    architecture = "warpinr"
    Config = WarpINRConfig
    config: WarpINRConfig
    uses_neighbours = True
    half_on_gpu = True

    def __init__(self, config: WarpINRConfig) -> None:
        super().__init__(config)
        self.config = config
        thorough = isinstance(config.detail, TrunkDetailConfig)  # its trunk begins with what led to the flow
        self.pyramid = Pyramid(config.levels, full_size=thorough)
        self.flow = FlowEstimator(config.levels, config.hidden, config.radius, half_size_state=thorough)
        self.detail: FrameDetail | TrunkDetail
        if isinstance(config.detail, FrameDetailConfig):
            self.detail = FrameDetail(config.detail)
        else:
            self.detail = TrunkDetail(config.detail, config.levels[0], config.hidden)

    @classmethod
    def matches(cls, shapes: Shapes) -> bool:
        """See `Network.matches`."""
        return any(name.startswith("pyramid.reduce.") for name in shapes)

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, settings: Mapping[str, object]) -> WarpINRConfig:
        """See `Network.config_from_shapes`; the one setting is `self_ensemble`, of networks with a `TrunkDetail`."""
        thorough = any(name.startswith("detail.backprojection.") for name in shapes)
        if unknown := sorted(settings.keys() - ({"self_ensemble"} if thorough else set())):
            raise ModelError(f"setting {unknown[0]!r} is not known to {cls.architecture}")
        if not isinstance(self_ensemble := settings.get("self_ensemble", False), bool):
            raise ModelError("setting 'self_ensemble' is neither true nor false")

        def channels(name: str, axis: int = 0) -> int:
            if name not in shapes or len(shapes[name]) != 4:
                raise ModelError(f"tensor {name} is missing or misshapen")
            return shapes[name][axis]

        def count(beginning: str, end: str) -> int:
            return sum(name.startswith(beginning) and name.endswith(end) for name in shapes)

        depth = count("pyramid.reduce.", ".weight")
        levels = tuple(channels(f"pyramid.reduce.{level}.weight") for level in range(depth))
        if depth < 2:
            raise ModelError("tensor pyramid.reduce.1.weight is missing or misshapen")
        hidden = channels("flow.steps.0.conv3.weight")
        # The step sees both feature maps, the correlation and the displacement it suggests, flow and state so far.
        window = channels("flow.refine.conv1.weight", 1) - 2 * levels[1] - FLOW - FLOW - hidden
        blocks = count("detail.trunk.", ".conv1.weight")
        detail: FrameDetailConfig | TrunkDetailConfig
        if thorough:
            detail = TrunkDetailConfig(
                width=channels("detail.fuse.weight"),
                blocks=blocks,
                patterns=channels("detail.predict.patterns.weight", 1),
                rounds=count("detail.backprojection.", ".gather.weight"),
                self_ensemble=self_ensemble,
            )
        else:
            detail = FrameDetailConfig(width=channels("detail.first.weight"), blocks=blocks)
        return WarpINRConfig(
            levels=levels,
            hidden=hidden,
            radius=(math.isqrt(max(window, 0)) - 1) // 2 if window > 0 else 0,
            detail=detail,
        )

    def settings(self) -> dict[str, str | int | float | bool]:
        """See `Network.settings`."""
        detail = self.config.detail
        return {"self_ensemble": True} if isinstance(detail, TrunkDetailConfig) and detail.self_ensemble else {}

    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> WarpField:
        """See `Network.encode`."""
        known = previous.pair_motion if isinstance(previous, WarpField) else None
        return WarpField(self, self.estimate_motion(frame0, frame1, previous=known))

    def estimate_motion(self, frame0: Tensor, frame1: Tensor, *, previous: PairMotion | None = None) -> PairMotion:
        """Return all that is known of a pair of frames whatever time and size are asked for.

        `previous` is of a pair that ends with frame 0. Its features of that frame are taken from it.

        Raises:
            ValueError, TypeError: See `checked_frames`.
        """
        frame0, frame1 = self.checked_frames(frame0, frame1)
        if previous is not None:
            frame0 = previous.frame1  # the same, which need not be kept twice
        bands.trim_after(frame0)  # what frames were made in meanwhile
        bars = static_bars(frame0, frame1)
        exposure, static = self._exposure(frame0, frame1, bars), self._static_regions(frame0, frame1, bars)
        # Frames are taken as they are where nothing fades. To ask for that, an accelerator would be waited for.
        if frame0.device.type == "cpu" and exposure.is_equal():
            exposure = Exposure.equal(frame0)
        matched = exposure.match(frame0, frame1)
        kept: list[list[Tensor]] = []
        if exposure.known_equal:
            features0 = None if previous is None else previous.take_features1()
            features = features0 or self._features(frame0), self._features(frame1)
            levels: list[Features] = list(zip(*features, strict=True))
            # Of large frames they would take as much as a band, for as long as frames are made.
            kept = [features[1]] if sum(level.nbytes for level in features[1]) <= bands.budget(frame0.device) else []
            del features, features0
        else:
            levels = [(level,) for level in self._features(torch.cat(matched))]
        flow = self._estimated_flows(levels)[-1]
        del levels  # large, and what follows takes as much
        bands.trim_after(frame0)
        flow = self._refined_flow(torch.cat(matched), flow)
        bands.trim_after(frame0)
        flow = flow * (1 - static_mask(torch.cat((static.reach, static.reach)), flow))
        flow01, flow10 = flow.contiguous().chunk(2)
        return PairMotion(frame0, frame1, flow01, flow10, exposure, static, kept)

    def flow_levels(self, frame0: Tensor, frame1: Tensor) -> list[Tensor]:
        """Return the flows between two frames at all levels, coarsest first, as training supervises them.

        Each flow is (2B, 2, h', w'): frame 0 → 1 in the first half of the batch, frame 1 → 0 in the second.
        """
        exposure = self._exposure(frame0, frame1, static_bars(frame0, frame1))
        both = torch.cat(exposure.match(frame0, frame1))
        flows = self._estimated_flows([(level,) for level in self._features(both)])
        return [*flows, self._refined_flow(both, flows[-1])]

    def enlarge(self, frame: Tensor, neighbours: list[Neighbour], blank: Tensor, size: tuple[int, int]) -> Tensor:
        """Return a frame at another size, float32 (B, 3, *size): bicubic, and its residual detail.

        Args:
            frame: (B, 3, h, w).
            neighbours: The frames next to it, as far as they are known.
            blank: Where the frame is of one colour, as bars above and below a film are, (B, 1, h, w) bool: stays so.
            size: (height, width).
        """
        # At its own size a frame has all its detail.
        if frame.shape[-2:] == size or not self.uses(Stage.DETAIL):
            return resize_bicubic(frame, size)
        if not self.uses(Stage.NEIGHBOUR_DETAIL):
            neighbours = []
        if isinstance(self.detail, FrameDetail):
            return self._add_detail(self.detail, resize_bicubic(frame, size), frame, neighbours, blank)
        side = 0 if self.training else self._tile_side(frame, self.detail)
        if side:
            return self._enlarge_in_tiles(self.detail, frame, neighbours, blank, size, side)
        detail = self.detail(frame, neighbours, self._features_and_state)
        return resize_bicubic(frame, size) + resize_bicubic(_without(blank, detail), size)

    def _add_detail(
        self, predict: FrameDetail, picture: Tensor, frame: Tensor, neighbours: list[Neighbour], blank: Tensor
    ) -> Tensor:
        """A picture and its detail, in bands where the frame is large."""
        batch, _, height, width = frame.shape
        size = picture.shape[-2], picture.shape[-1]
        row_bytes = frame.element_size() * batch * width * predict.numbers
        rows = [(0, height)] if self.training else bands.bands(height, row_bytes, frame.device, predict.reach)
        if len(rows) == 1:
            return picture + resize_bicubic(_without(blank, predict(frame, neighbours)), size)
        for top, bottom in rows:
            between_layers()
            made = top * size[0] // height, bottom * size[0] // height
            if made[0] == made[1]:
                continue
            low, high = bicubic_support(DETAIL_SCALE * height, size[0], made)
            first, last = low // DETAIL_SCALE, -(-high // DETAIL_SCALE)
            detail = _without(blank[..., first:last, :], predict(frame, neighbours, (first, last)))
            detail = resize_bicubic_rows(detail, DETAIL_SCALE * first, DETAIL_SCALE * height, size, made)
            picture[..., made[0] : made[1], :] += detail
            del detail
        bands.trim_after(picture)
        return picture

    def _tile_side(self, frame: Tensor, predict: TrunkDetail) -> int:
        """Of how many pixels a side detail is predicted at a time; 0 for the whole frame."""
        batch, _, height, width = frame.shape
        budget, place_bytes = bands.budget(frame.device), frame.element_size() * batch * predict.numbers
        if height * width * place_bytes <= UNTILED_BANDS * budget:
            return 0
        return max(MIN_TILE_PX, math.isqrt(TILE_BANDS * budget // place_bytes) - 2 * TILE_MARGIN_PX)

    def _enlarge_in_tiles(
        self,
        predict: TrunkDetail,
        frame: Tensor,
        neighbours: list[Neighbour],
        blank: Tensor,
        size: tuple[int, int],
        side: int,
    ) -> Tensor:
        """A picture and its detail, of tiles with a margin, beyond which next to nothing is of influence.

        What motion leads to beyond that margin is not seen, so that no motion is longer than what is seen of it.
        """
        batch, _, height, width = frame.shape
        companion = predict.companion(frame, neighbours)
        state: Tensor | None = None
        if not predict.config.self_ensemble:  # of which each way has its own
            both = torch.cat((frame, companion.frame)).contiguous(memory_format=torch.channels_last)
            levels = [(level,) for level in self.pyramid.from_half_size(both - 0.5)]
            state = self.flow.half_size_state(levels)[:batch].clone()
            del both, levels
            bands.trim_after(frame)
        picture = resize_bicubic(frame, size)
        places = [
            [_tile(top, min(top + side, length), length, new) for top in range(0, length, side)]
            for length, new in ((height, size[0]), (width, size[1]))
        ]
        for rows, columns in itertools.product(*places):
            between_layers()
            if rows.made[0] == rows.made[1] or columns.made[0] == columns.made[1]:
                continue
            part = slice(*rows.seen), slice(*columns.seen)
            encode = self._features_and_state
            if state is not None:
                half = state[..., rows.seen[0] // 2 : -(-rows.seen[1] // 2), columns.seen[0] // 2 :]
                half = half[..., : -(-columns.seen[1] // 2) - columns.seen[0] // 2]

                def encode(both: Tensor, half: Tensor = half) -> tuple[Tensor, Tensor]:
                    return self.pyramid.full_size(both - 0.5), half

            seen = [one.crop(*part) for one in neighbours]
            detail = predict(frame[..., part[0], part[1]], seen, encode, companion.crop(*part))
            detail = _without(blank[..., part[0], part[1]], detail)
            for one, length, new in ((rows, height, size[0]), (columns, width, size[1])):
                fine = DETAIL_SCALE * one.seen[0], DETAIL_SCALE * length
                detail = resize_bicubic_axis(detail, *fine, new, one.made).mT
            picture[..., slice(*rows.made), slice(*columns.made)] += detail
            del detail
        bands.trim_after(picture)
        return picture

    def uses(self, stage: Stage) -> bool:
        """Whether a stage is in place."""
        return stage not in self.config.without

    def _exposure(self, frame0: Tensor, frame1: Tensor, bars: Tensor) -> Exposure:
        return Exposure.between(frame0, frame1, bars) if self.uses(Stage.EXPOSURE) else Exposure.equal(frame0)

    def _static_regions(self, frame0: Tensor, frame1: Tensor, bars: Tensor) -> StaticRegions:
        return StaticRegions.between(frame0, frame1, bars, colour=self.uses(Stage.STATIC_COLOUR))

    def _features_and_state(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Features at full size of the frames of a pair (2B, 3, h, w), and the first one's state at half size."""
        full, *levels = self.pyramid(both - 0.5)
        return full, self.flow.half_size_state([(level,) for level in levels]).chunk(2)[0]

    def _features(self, frames: Tensor) -> list[Tensor]:
        """Features of frames (B, 3, h, w) from half size on, which is what the flow needs."""
        levels: list[Tensor] = self.pyramid.from_half_size(frames.contiguous(memory_format=torch.channels_last) - 0.5)
        return levels

    def _estimated_flows(self, levels: list[Features]) -> list[Tensor]:
        """Flows of both directions by features of all levels, coarsest first, the last one of half the frames' size.

        They are of frames extended to whole pixels of the coarsest level.
        """
        flows: list[Tensor] = self.flow(levels, refine=self.uses(Stage.FINE_FLOW))
        return flows if self.uses(Stage.FLOW) else [torch.zeros_like(flow) for flow in flows]

    def _refined_flow(self, both: Tensor, flow: Tensor) -> Tensor:
        """The flow of both directions, (2B, 2, h, w), by an estimate of half its size and the frames (2B, 3, h, w)."""
        if not self.uses(Stage.FLOW):
            return torch.zeros_like(both[:, :FLOW]).float()
        both = both.contiguous(memory_format=torch.channels_last)
        height, width = both.shape[-2:]
        half = F.avg_pool2d(pad_to_multiple(both, 2), 2)
        flow = flow[..., : half.shape[-2], : half.shape[-1]]
        flow = upsample_flow(self._refine(flow, half, radius=6, damping=1e-3))[..., :height, :width]
        flow = self._refine(flow, both, radius=3, damping=3e-3)
        return smooth_consistent_flow(flow) if self.uses(Stage.SMOOTHING) else flow

    def _refine(self, flow: Tensor, both: Tensor, radius: int, damping: float) -> Tensor:
        """A flow between frames of its own size, made exact by what they themselves show."""
        return (
            refine_lucas_kanade(flow, both, other_frame(both), radius, damping)
            if self.uses(Stage.LUCAS_KANADE)
            else flow
        )


@dataclass(frozen=True)
class _Tile:
    """Rows or columns, from and to: of a picture that are made, and of the frame that are looked at for it."""

    made: tuple[int, int]
    seen: tuple[int, int]


def _tile(first: int, last: int, length: int, new_length: int) -> _Tile:
    """What is made of a frame's rows or columns, of `length` of which `new_length` are made."""
    made = first * new_length // length, last * new_length // length
    low, high = bicubic_support(DETAIL_SCALE * length, new_length, made)
    low, high = low // DETAIL_SCALE - TILE_MARGIN_PX, -(-high // DETAIL_SCALE) + TILE_MARGIN_PX
    return _Tile(made, (max(low, 0) // 2 * 2, min(high, length)))


def _without(blank: Tensor, detail: Tensor) -> Tensor:
    """Detail (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w), but none where the frame is `blank`, (B, 1, h, w)."""
    return detail * F.interpolate((~blank).to(detail.dtype), scale_factor=DETAIL_SCALE)
