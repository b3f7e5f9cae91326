"""The encoder that VideoINR inherits from Zooming Slow-Mo (Xiang et al. 2020, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vs_videoinr.networks.videoinr.conv_lstm import BidirectionalConvLSTM
from vs_videoinr.networks.videoinr.layers import Pyramid, ResidualBlock, conv3x3, leaky, pad_to_pyramid
from vs_videoinr.networks.videoinr.pcd_alignment import PCDAlignment


class Encoder(Pyramid):
    """Two frames in, three feature maps out: at frame 0, at frame 1, and of the moment between them.

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

    def feature_map(self, frame0: Tensor, frame1: Tensor) -> Tensor:
        """Encode two (B, 3, H, W) frames in [0, 1] of any size into (B, 3C, H, W): frame 0, between, frame 1."""
        batch, _, height, width = frame0.shape
        frames = pad_to_pyramid(torch.cat((frame0, frame1)))
        # Everything after keeps this layout; oneDNN's and cuDNN's convolutions are up to three times faster in it.
        frames = frames.contiguous(memory_format=torch.channels_last)
        level1 = leaky(self.conv_first(frames))
        levels = self.pyramid(self.feature_extraction(level1))
        first, second = [level[:batch] for level in levels], [level[batch:] for level in levels]
        between = self.fusion(self.pcd_align(first, second))
        maps = self.recon_trunk(self.ConvBLSTM([first[0], between, second[0]]))[..., :height, :width]
        return torch.cat(maps.split(batch), dim=1)
