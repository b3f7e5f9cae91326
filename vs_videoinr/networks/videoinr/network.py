"""VideoINR (Chen et al., CVPR 2022): Zooming Slow-Mo's encoder under a decoder that is continuous in space and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vs_videoinr.errors import ModelError
from vs_videoinr.networks.base import Network, Shapes, VideoField
from vs_videoinr.networks.videoinr.coordinates import Padding
from vs_videoinr.networks.videoinr.encoder import Encoder
from vs_videoinr.networks.videoinr.field import Sirens, VideoINRField
from vs_videoinr.networks.videoinr.siren import Siren
from vs_videoinr.networks.videoinr.sizes import count, encoder_sizes, shape_of


@dataclass(frozen=True)
class VideoINRConfig:
    """Sizes and variant of a VideoINR; the defaults are the published network.

    Attributes:
        channels: Channels of each of the encoder's three feature maps.
        groups: Offset groups of the deformable convolutions.
        front_blocks: Residual blocks before the alignment.
        back_blocks: Residual blocks after the ConvLSTM.
        continuous_channels: Channels of SpatialINR's continuous feature.
        spatial_hidden: Widths of SpatialINR's sine layers (`feat_imnet`).
        temporal_hidden: Widths of TemporalINR's sine layers (`flow_imnet`).
        colour_hidden: Widths of the last network's sine layers (`encode_imnet`).
        omega: Frequency of the sines.
        grid: Where the warp starts: as the published code has it, or consistently at pixel centres.
        padding: What sampling finds outside the image.
    """

    channels: int = 64
    groups: int = 8
    front_blocks: int = 5
    back_blocks: int = 40
    continuous_channels: int = 64
    spatial_hidden: tuple[int, ...] = (64, 64, 256)
    temporal_hidden: tuple[int, ...] = (64, 64, 256)
    colour_hidden: tuple[int, ...] = (64, 64, 256, 256)
    omega: float = 30.0
    grid: Literal["reference", "consistent"] = "reference"
    padding: Padding = "zeros"


class VideoINR(Encoder, Network):
    """The network; tensor names are those of the published checkpoint."""

    architecture = "videoinr"
    Config = VideoINRConfig
    #: Left over from Zooming Slow-Mo's fixed-scale output; the published code builds and saves them.
    unused: ClassVar[frozenset[str]] = frozenset({"upconv1", "upconv2", "HRconv", "conv_last"})

    config: VideoINRConfig

    def __init__(self, config: VideoINRConfig = VideoINRConfig()) -> None:
        super().__init__(config.channels, config.groups, config.front_blocks, config.back_blocks)
        self.config = config
        maps = 3 * config.channels + 6  # three feature maps and two RGB frames
        continuous = config.continuous_channels
        self.feat_imnet = Siren(maps + 2 + 1, config.spatial_hidden, continuous, config.omega)
        self.flow_imnet = Siren(continuous + maps + 1, config.temporal_hidden, 4, config.omega)
        self.encode_imnet = Siren(2 * (continuous + maps) + 1, config.colour_hidden, 3, config.omega)

    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:  # noqa: ARG002
        """Encode two (B, 3, height, width) RGB frames in [0, 1]; any height and width from 1 up."""
        frame0, frame1 = self.checked_frames(frame0, frame1)
        return VideoINRField(
            self.feature_map(frame0, frame1),
            torch.cat((frame0, frame1), dim=1),
            Sirens(self.feat_imnet, self.flow_imnet, self.encode_imnet),
            self.config.grid,
            self.config.padding,
        )

    def feature_map(self, frame0: Tensor, frame1: Tensor) -> Tensor:
        """Encode two (B, 3, H, W) frames in [0, 1] of any size into (B, 3C, H, W): frame 0, between, frame 1."""
        batch, _, height, width = frame0.shape
        maps = self.recon_trunk(self.recurrent_maps((frame0, frame1), range(3)))[..., :height, :width]
        return torch.cat(maps.split(batch), dim=1)

    @classmethod
    def matches(cls, shapes: Shapes) -> bool:
        """Tell by the names that no other network of the family has together."""
        return any(name.startswith("ConvBLSTM.") for name in shapes) and any(
            name.startswith(("feat_imnet.", "flow_imnet.", "encode_imnet.")) for name in shapes
        )

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, settings: Mapping[str, object]) -> VideoINRConfig:
        """Infer the configuration; see `Network.config_from_shapes`."""

        def widths(siren: str) -> tuple[int, ...]:
            layers = count(shapes, rf"{siren}\.net\.(\d{{1,3}})\.linear\.")
            if layers == 0:
                raise ModelError(f"tensor {siren}.net.0.linear.weight is missing")
            return tuple(shape_of(shapes, f"{siren}.net.{layer}.linear.weight", 2)[0] for layer in range(layers))

        spatial = widths("feat_imnet")
        unknown = sorted(set(settings) - {"omega", "grid", "padding"})
        if unknown:
            raise ModelError(f"setting {unknown[0]!r} is not known")
        omega = settings.get("omega", 30.0)
        grid = settings.get("grid", "reference")
        padding = settings.get("padding", "zeros")
        if isinstance(omega, bool) or not isinstance(omega, (int, float)) or not 0 < omega < 1e6:
            raise ModelError(f"setting omega is {omega!r}, not a positive number")
        if grid not in ("reference", "consistent"):
            raise ModelError(f"setting grid is {grid!r}, neither 'reference' nor 'consistent'")
        if padding not in ("zeros", "border"):
            raise ModelError(f"setting padding is {padding!r}, neither 'zeros' nor 'border'")
        return VideoINRConfig(
            **encoder_sizes(shapes)._asdict(),
            continuous_channels=shape_of(shapes, f"feat_imnet.net.{len(spatial)}.weight", 2)[0],
            spatial_hidden=spatial,
            temporal_hidden=widths("flow_imnet"),
            colour_hidden=widths("encode_imnet"),
            omega=float(omega),
            grid=grid,
            padding=padding,
        )

    def settings(self) -> dict[str, str | int | float | bool]:
        """The settings that shapes do not tell."""
        return {"omega": self.config.omega, "grid": self.config.grid, "padding": self.config.padding}
