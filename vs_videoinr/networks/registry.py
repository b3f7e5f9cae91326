"""The architectures that a checkpoint can name or be recognised as."""

from __future__ import annotations

from vs_videoinr.networks.base import Network
from vs_videoinr.networks.videoinr.network import VideoINR
from vs_videoinr.networks.warpinr.network import WarpINR
from vs_videoinr.networks.zooming_slow_mo.network import ZoomingSlowMo

ARCHITECTURES: tuple[type[Network], ...] = (VideoINR, WarpINR, ZoomingSlowMo)
