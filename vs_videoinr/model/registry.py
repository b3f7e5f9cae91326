"""The architectures that a checkpoint can name or be recognised as."""

from __future__ import annotations

from vs_videoinr.model.base import Network
from vs_videoinr.model.videoinr import VideoINR
from vs_videoinr.model.warpinr import WarpINR

ARCHITECTURES: tuple[type[Network], ...] = (VideoINR, WarpINR)
