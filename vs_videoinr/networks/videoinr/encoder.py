"""The encoder that VideoINR inherits from Zooming Slow-Mo (Xiang et al. 2020, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vs_videoinr.networks.videoinr.conv_lstm import BidirectionalConvLSTM
from vs_videoinr.networks.videoinr.layers import Pyramid, ResidualBlock, conv3x3, leaky, pad_to_pyramid
from vs_videoinr.networks.videoinr.pcd_alignment import PCDAlignment


class Encoder(Pyramid):
    """Consecutive frames in, feature maps out: of every frame, and of the moment between each two of them.

    A base class rather than a part, because the published tensor names have no prefix for it.

    Args:
        channels: Channels of every feature map.
        groups: Offset groups of the deformable convolutions.
        front_blocks: Residual blocks before the alignment.
        back_blocks: Residual blocks after the ConvLSTM.
    """

    def __init__(self, channels: int, groups: int, front_blocks: int, back_blocks: int) -> None:
        super().__init__(channels)
        self.conv_first = conv3x3(3, channels)
        self.feature_extraction = nn.Sequential(*(ResidualBlock(channels) for _ in range(front_blocks)))
        self.pcd_align = PCDAlignment(channels, groups)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.ConvBLSTM = BidirectionalConvLSTM(channels, groups)
        self.recon_trunk = nn.Sequential(*(ResidualBlock(channels) for _ in range(back_blocks)))

    def recurrent_maps(self, frames: Sequence[Tensor], places: range) -> Tensor:
        """Return what the ConvLSTM makes of n ≥ 2 consecutive (B, 3, H, W) frames in [0, 1], at some places of them.

        Args:
            frames: Of any one size; n of them.
            places: Consecutive ones from 0 to 2n - 2: frame i is at 2i, the moment between it and the next one at
                2i + 1.

        Returns:
            (places · B, C, H', W') in time order, for `recon_trunk`. Height and width are those of the frames, extended
            at the bottom and on the right to multiples of `PYRAMID_MULTIPLE`.
        """
        batch = len(frames[0])
        padded = pad_to_pyramid(torch.cat(tuple(frames)))
        # Everything after keeps this layout; oneDNN's and cuDNN's convolutions are up to three times faster in it.
        padded = padded.contiguous(memory_format=torch.channels_last)
        level1 = leaky(self.conv_first(padded))
        levels = self.pyramid(self.feature_extraction(level1))
        earlier, later = [level[:-batch] for level in levels], [level[batch:] for level in levels]
        between = self.fusion(self.pcd_align(earlier, later)).chunk(len(frames) - 1)
        first, *rest = levels[0].chunk(len(frames))
        sequence = [first]
        for moment, frame in zip(between, rest, strict=True):
            sequence += (moment, frame)
        maps: Tensor = self.ConvBLSTM(sequence, places)
        return maps
