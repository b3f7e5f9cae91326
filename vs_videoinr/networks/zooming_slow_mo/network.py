"""Zooming Slow-Mo (Xiang et al., CVPR 2020): four times the size and twice the rate in one stage.

VideoINR took its encoder over. What stands on it here enlarges each feature map by pixel shuffle, so that size and
times are fixed. The encoder's ConvLSTM runs over as many frames as it is given: a pair is decoded from the window of up
to four frames around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.networks.base import Network, Shapes, VideoField
from vs_videoinr.networks.limits import Limits
from vs_videoinr.networks.videoinr.encoder import Encoder
from vs_videoinr.networks.videoinr.layers import conv3x3, leaky
from vs_videoinr.networks.videoinr.sizes import encoder_sizes
from vs_videoinr.networks.zooming_slow_mo.field import PairFrames, ZoomingSlowMoField

SCALE = 4
_SHUFFLE = 2  # by what each of two pixel shuffles enlarges

#: Low-resolution pixels enlarged at a time: 9 KB each at the published size, in float32.
BAND_PIXELS = 1 << 15

#: Low-resolution rows from which a band's edge is seen: a row by the first convolution, the second and the last two at
#: two and four times the size as many again.
_HALO_ROWS = 2

#: Names (first dotted part) of the tensors by which the checkpoint of a VideoINR is known.
_SIRENS = frozenset({"feat_imnet", "flow_imnet", "encode_imnet"})


@dataclass(frozen=True)
class ZoomingSlowMoConfig:
    """Sizes of a Zooming Slow-Mo; the defaults are the published network.

    Attributes:
        channels: Channels of every feature map.
        groups: Offset groups of the deformable convolutions.
        front_blocks: Residual blocks before the alignment.
        back_blocks: Residual blocks after the ConvLSTM.
    """

    channels: int = 64
    groups: int = 8
    front_blocks: int = 5
    back_blocks: int = 40


class ZoomingSlowMo(Encoder, Network):
    """The network; tensor names are those of the published checkpoint."""

    architecture = "zooming_slow_mo"
    title = "Zooming Slow-Mo"
    Config = ZoomingSlowMoConfig
    uses_neighbours = True
    limits = Limits(title, SCALE, times=(0, 0.5, 1), motion=False)

    config: ZoomingSlowMoConfig

    def __init__(self, config: ZoomingSlowMoConfig = ZoomingSlowMoConfig()) -> None:
        super().__init__(**asdict(config))
        self.config = config
        self.upconv1 = conv3x3(config.channels, config.channels * _SHUFFLE**2)
        self.upconv2 = conv3x3(config.channels, config.channels * _SHUFFLE**2)
        self.HRconv = conv3x3(config.channels, config.channels)
        self.conv_last = conv3x3(config.channels, 3)

    def encode(
        self,
        frame0: Tensor,
        frame1: Tensor,
        *,
        previous: VideoField | None = None,  # noqa: ARG002
    ) -> ZoomingSlowMoField:
        """See `Network.encode`; the work begins when the field is sampled, for only then its neighbours are known."""
        return ZoomingSlowMoField(self, PairFrames(*self.checked_frames(frame0, frame1)))

    def decode(self, maps: Tensor, check: Callable[[], None] | None = None) -> Tensor:
        """Return what one place of `recurrent_maps`, (B, C, H, W), looks like: (B, 3, SCALE·H, SCALE·W).

        `check` is called between bands of rows and may raise to abandon the work.
        """
        maps = self.recon_trunk(maps)
        batch, _, height, width = maps.shape
        rows = max(1, BAND_PIXELS // (batch * width))
        bands = []
        for top in range(0, height, rows):
            if check is not None:
                check()
            bottom = min(height, top + rows)
            above, below = max(0, top - _HALO_ROWS), min(height, bottom + _HALO_ROWS)
            band = self._enlarge(maps[..., above:below, :])
            bands.append(band[..., SCALE * (top - above) : SCALE * (bottom - above), :])
        return torch.cat(bands, dim=2)

    def _enlarge(self, maps: Tensor) -> Tensor:
        for upconv in (self.upconv1, self.upconv2):
            maps = leaky(F.pixel_shuffle(upconv(maps), _SHUFFLE))
        picture: Tensor = self.conv_last(leaky(self.HRconv(maps)))
        return picture

    @classmethod
    def matches(cls, shapes: Shapes) -> bool:
        """Tell by the encoder that it has and by the SIRENs that it has not: it is a part of VideoINR's checkpoint."""
        parts = {name.partition(".")[0] for name in shapes}
        return "ConvBLSTM" in parts and not parts & _SIRENS

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, settings: Mapping[str, object]) -> ZoomingSlowMoConfig:
        """Infer the configuration; see `Network.config_from_shapes`."""
        if settings:
            raise ModelError(f"setting {min(settings)!r} is not known")
        return ZoomingSlowMoConfig(*encoder_sizes(shapes))

    def settings(self) -> dict[str, str | int | float | bool]:
        """The settings that shapes do not tell: none."""
        return {}
