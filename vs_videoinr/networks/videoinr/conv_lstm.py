"""Bidirectional deformable ConvLSTM (Zooming Slow-Mo, Xiang et al. 2020, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vs_videoinr.networks.videoinr.layers import conv3x3
from vs_videoinr.networks.videoinr.pcd_alignment import FusedAlignment


class ConvLSTMCell(nn.Module):
    """One step of a convolutional LSTM; gates in the order input, forget, output, candidate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(2 * channels, 4 * channels)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden and cell state; everything is (B, C, H, W)."""
        i, f, o, g = self.conv(torch.cat((x, hidden), dim=1)).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class DeformableConvLSTM(nn.Module):
    """ConvLSTM that aligns both of its states to the input before every step."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.cell_list = nn.ModuleList([ConvLSTMCell(channels)])
        self.pcd_h = FusedAlignment(channels, groups)
        self.pcd_c = FusedAlignment(channels, groups)

    def forward(self, sequence: list[Tensor]) -> list[Tensor]:
        """Run over a list of (B, C, H, W) from zero states; return the hidden state after each."""
        hidden = torch.zeros_like(sequence[0])
        cell = torch.zeros_like(sequence[0])
        states = []
        for x in sequence:
            # The zero states are aligned as well: the biases on that way are part of what the weights have learned.
            hidden, cell = self.cell_list[0](x, self.pcd_h(x, hidden), self.pcd_c(x, cell))
            states.append(hidden)
        return states


class BidirectionalConvLSTM(nn.Module):
    """One deformable ConvLSTM run forwards and backwards over a sequence, and a 1×1 fusion of both."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.forward_net = DeformableConvLSTM(channels, groups)
        self.conv_1x1 = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, sequence: list[Tensor], places: range) -> Tensor:
        """Map feature maps (B, C, H, W) to those at some `places` of their sequence, (places · B, C, H, W)."""
        batch, length = sequence[0].shape[0], len(sequence)
        # Neither direction needs to go on beyond the last of the places that it comes to.
        steps = max(places[-1] + 1, length - places[0])
        there, back = sequence[:steps], sequence[::-1][:steps]
        # One set of weights serves both directions, so they are two halves of one batch.
        states = self.forward_net([torch.cat(pair) for pair in zip(there, back, strict=True)])
        both = [torch.cat((states[place][:batch], states[length - 1 - place][batch:]), dim=1) for place in places]
        fused: Tensor = self.conv_1x1(torch.cat(both))
        return fused
