"""The residual detail of a frame, from the frame itself and the ones before and after it: the light way.

Between its pixels a frame has lost what its neighbours may have caught, if they lie there by fractions of a pixel. So a
neighbour is not interpolated: each place takes the features of the neighbour's pixel that is nearest to where motion
leads, and is told how far from the pixel's centre that is (the phase), by which it can weight them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks import bands
from vs_videoinr.networks.kernels import CLUES, PHASE_TERMS
from vs_videoinr.networks.sampling import pixels_at
from vs_videoinr.networks.warpinr.blocks import LEAKY_SLOPE, RGB, ResidualBlock, init_near_zero
from vs_videoinr.networks.warpinr.clues import find_clues
from vs_videoinr.networks.warpinr.neighbours import Neighbour
from vs_videoinr.networks.warpinr.residual_detail import DETAIL_SCALE

#: Rows around those whose features are made, with what neighbours add to them.
GATHERED_REACH = 2


@dataclass(frozen=True)
class FrameDetailConfig:
    """Sizes of a `FrameDetail`.

    Attributes:
        width: Channels of all feature maps.
        blocks: Residual blocks.
    """

    width: int = 32
    blocks: int = 4


class FrameDetail(nn.Module):
    """A frame and its neighbours → its residual detail."""

    def __init__(self, config: FrameDetailConfig) -> None:
        super().__init__()
        width = config.width
        self.first = nn.Conv2d(RGB, width, 3, padding=1)
        self.own = nn.Conv2d(width, width, 3, padding=1)
        self.compared = nn.Conv2d(width, width, 1, bias=False)  # with what neighbours show
        self.phase = nn.Conv2d(PHASE_TERMS, width, 1)
        self.neighbour = nn.Conv2d(2 * width + CLUES, width, 3, padding=1)
        self.trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(config.blocks)))
        self.out = nn.Conv2d(width, RGB * DETAIL_SCALE**2, 3, padding=1)
        init_near_zero(self.out)

    @property
    def reach(self) -> int:
        """Rows around those that are made of which detail is made: one of each layer."""
        return GATHERED_REACH + 2 * len(self.trunk) + 1

    @property
    def numbers(self) -> int:
        """Numbers that a pixel takes while its detail is made: in a block; and detail itself, before and after."""
        return 4 * self.own.out_channels + 2 * self.out.out_channels

    def forward(self, frame: Tensor, neighbours: list[Neighbour], rows: tuple[int, int] | None = None) -> Tensor:
        """Return what a frame (B, 3, h, w) has in addition to its bicubic enlargement.

        Neighbours are nothing but added up: their order does not matter, and one that is not informative tells nothing.

        Args:
            frame: The frame.
            neighbours: The frames next to it.
            rows: From and to, of the frame, of which detail is made; all of them if there are none.

        Returns:
            float32 (B, 3, DETAIL_SCALE·h, DETAIL_SCALE·w), of the rows.
        """
        height = frame.shape[-2]
        top, bottom = rows or (0, height)
        above, below = max(top - self.reach, 0), min(bottom + self.reach, height)
        detail = self.out(self.trunk(self._gathered_in_bands(frame, neighbours, above, below)))
        return F.pixel_shuffle(detail[..., top - above : bottom - above, :].float(), DETAIL_SCALE)

    def _gathered_in_bands(self, frame: Tensor, neighbours: list[Neighbour], top: int, bottom: int) -> Tensor:
        """Features of rows from `top` to `bottom`, with what neighbours add to them: (B, width, bottom - top, w)."""
        numbers = 7 * self.own.out_channels + 2 * self.neighbour.in_channels
        row_bytes = frame.element_size() * len(frame) * frame.shape[-1] * numbers
        rows = [(0, bottom - top)]
        if not self.training:
            rows = bands.bands(bottom - top, row_bytes, frame.device, GATHERED_REACH)
        (gathered,) = bands.in_bands(
            lambda first, last: (self._gathered(frame, neighbours, top + first, top + last),), rows
        )
        return gathered

    def _gathered(self, frame: Tensor, neighbours: list[Neighbour], top: int, bottom: int) -> Tensor:
        above, below = max(top - GATHERED_REACH, 0), min(bottom + GATHERED_REACH, frame.shape[-2])
        x = F.leaky_relu(self.own(self._features(frame, above, below)), LEAKY_SLOPE, inplace=True)
        compared = self.compared(x)
        for one in neighbours:
            x = x + self._seen(frame, compared, one, above, below)
        return x[..., top - above : bottom - above, :]

    def _features(self, frame: Tensor, top: int, bottom: int) -> Tensor:
        """Features of rows from `top` to `bottom`; but for the frame's own, the outermost know nothing beyond."""
        band = (frame[..., top:bottom, :] - 0.5).contiguous(memory_format=torch.channels_last)
        return F.leaky_relu(self.first(band), LEAKY_SLOPE, inplace=True)

    def _seen(self, frame: Tensor, compared: Tensor, neighbour: Neighbour, top: int, bottom: int) -> Tensor:
        """What a neighbour adds to the features of rows from `top` to `bottom`, (B, width, bottom - top, w)."""
        rows = slice(top, bottom)
        seen = self.neighbour(self._known(frame, neighbour, top, bottom)) + compared
        return F.leaky_relu(seen, LEAKY_SLOPE, inplace=True) * neighbour.informative[..., rows, :]

    def _known(self, frame: Tensor, neighbour: Neighbour, top: int, bottom: int) -> Tensor:
        """All that is known of a neighbour, side by side."""
        rows = slice(top, bottom)
        ways = neighbour.flow_to[..., rows, :], neighbour.flow_from
        clues = find_clues(frame[..., rows, :], neighbour.frame, *ways, top)
        features = self._features_at(neighbour.frame, clues.pixel)
        weighted = features * self.phase(clues.phase_terms.to(features.dtype))
        return torch.cat((features, weighted, clues.maps.to(features.dtype)), 1)

    def _features_at(self, frame: Tensor, pixel: Tensor) -> Tensor:
        """Features (B, width, H, w) of pixels (B, 2, H, w) of a frame (B, 3, h, w), made of no more rows than needed.

        That are those of a band and a few around them, unless it moves wildly: then those of one band at a time.
        """
        height, count = frame.shape[-2], pixel.shape[-2]
        if count == height:  # or a GPU would be waited for
            return pixels_at(self._features(frame, 0, height), pixel)
        x, y = pixel.chunk(2, 1)
        lowest, highest = (int(row) for row in y.aminmax())
        found: Tensor | None = None
        for first in range(lowest, highest + 1, 2 * count):
            last = min(first + 2 * count, highest + 1)
            above, below = max(first - 1, 0), min(last + 1, height)
            place = torch.cat((x, (y - above).clamp(first - above, last - 1 - above)), 1)
            part = pixels_at(self._features(frame, above, below), place)
            found = part if found is None else torch.where(y >= first, part, found)
        assert found is not None
        return found
