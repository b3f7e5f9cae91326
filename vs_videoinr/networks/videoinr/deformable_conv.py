"""Modulated deformable convolution (DCNv2, Zhu et al. 2019) in plain PyTorch.

`grid_sample` gathers the nine displaced taps of every group at once, a matrix product does the rest. On a CPU this is
several times faster than a loop over taps or torchvision's operator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vs_videoinr.networks.cancellation import between_layers

_TAPS = 9  # of a 3×3 kernel

#: Bytes that the gathered taps may take at a time. Rows are independent: this bounds memory and changes nothing else.
_GATHER_BYTES = 16 << 20
_GPU_GATHER_BYTES = 512 << 20


class DeformableConv(nn.Module):
    """3×3 deformable convolution whose offsets and masks come from a second feature map.

    Args:
        channels: Channels in and out.
        groups: Channel groups that each have offsets and masks of their own.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.conv_offset_mask = nn.Conv2d(channels, 3 * _TAPS * groups, 3, 1, 1)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        # Zero offsets and masks of one half: training starts from an ordinary convolution.
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(self.conv_offset_mask.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Convolve `x` at the positions that `guide` asks for; both and the result are (B, C, H, W)."""
        batch, channels, height, width = x.shape
        groups, device = self.groups, x.device
        # Half precision resolves a quarter of a pixel at column 500: positions and sampling are float32.
        offsets, mask = self.conv_offset_mask(guide).float().split([2 * _TAPS * groups, _TAPS * groups], dim=1)
        offsets = offsets.reshape(batch * groups, _TAPS, 2, height, width)
        mask = mask.sigmoid().reshape(batch * groups, 1, _TAPS, height, width)
        tap = torch.arange(_TAPS, device=device)
        tap_y = (tap // 3 - 1).view(1, _TAPS, 1, 1) + torch.arange(height, device=device).view(1, 1, height, 1)
        tap_x = (tap % 3 - 1).view(1, _TAPS, 1, 1) + torch.arange(width, device=device).view(1, 1, 1, width)
        planes = x.float().reshape(batch * groups, channels // groups, height, width)
        kernel = self.weight.reshape(channels, channels * _TAPS)
        out = torch.empty_like(x)
        row_bytes = batch * channels * _TAPS * width * 4
        rows = max(1, (_GATHER_BYTES if device.type == "cpu" else _GPU_GATHER_BYTES) // row_bytes)
        for top in range(0, height, rows):
            between_layers()
            bottom = min(height, top + rows)
            here = offsets[:, :, :, top:bottom]
            # align_corners=False: position p of n cells is (2p + 1)/n - 1, which holds for a single cell too.
            grid = torch.stack(
                (
                    (here[:, :, 1] + tap_x).mul_(2 / width).add_(1 / width - 1),
                    (here[:, :, 0] + tap_y[:, :, top:bottom]).mul_(2 / height).add_(1 / height - 1),
                ),
                dim=-1,
            ).view(batch * groups, _TAPS * (bottom - top), width, 2)
            taps = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            taps = taps.view(batch * groups, channels // groups, _TAPS, bottom - top, width)
            taps = taps.mul_(mask[:, :, :, top:bottom]).to(x.dtype)
            columns = taps.view(batch, channels * _TAPS, (bottom - top) * width)
            out[:, :, top:bottom] = (kernel @ columns).view(batch, channels, bottom - top, width)
        return out.add_(self.bias.view(1, -1, 1, 1))
