"""The deterministic weights and frames for which `data/reference` holds the reference implementation's output.

Integers in, floats out, no random number library:

    value(key, i) = scale(key) * u(key, i)      u in [-1, 1)
    u(key, i)     = 2 * (splitmix64((crc32(key) << 32) + i) >> 11) * 2**-53 - 1,  i = flat C-order index
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vs_videoinr.networks.videoinr.network import VideoINR, VideoINRConfig

REFERENCE = Path(__file__).with_name("data") / "reference"
CASES = ("anisotropic_2x3", "fractional_3_44x", "inside_3x", "ties_3_5x", "times_3x")

#: A configuration in which no two widths are the same by accident.
SMALL = VideoINRConfig(
    channels=16,
    groups=2,
    front_blocks=2,
    back_blocks=3,
    continuous_channels=20,
    spatial_hidden=(24,),
    temporal_hidden=(12, 20),
    colour_hidden=(28, 16, 24, 12),
)

_GAINS = [  # first substring that matches; a weight is scaled by gain / sqrt(fan_in)
    ("conv_offset_mask.weight", 6.0),  # offsets of about one pixel, some of twenty
    ("recon_trunk", 1.0),
    ("feature_extraction", 1.0),
    ("feat_imnet.net.3", 1.0),
    ("flow_imnet.net.3", 6.0),
    ("encode_imnet.net.4", 0.6),
    ("_imnet.net.", 0.1),  # sine layers: omega is 30
]


def _uniform(key: str, n: int) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        z = np.uint64((zlib.crc32(key.encode()) & 0xFFFFFFFF) << 32) + np.arange(n, dtype=np.uint64)
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2.0 - 1.0


def reference_tensor(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Fill one tensor."""
    u = _uniform(key, int(np.prod(shape)))
    if key.endswith(".bias"):
        v = 0.02 * u + (0.5 if key == "encode_imnet.net.4.bias" else 0.0)
    else:
        gain = next((g for part, g in _GAINS if part in key), 2.4)
        v = gain / np.sqrt(float(np.prod(shape[1:]))) * u
    return v.astype(np.float32).reshape(shape)


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Read the name and shape of every tensor of the published checkpoint."""
    lines = (REFERENCE / "state_dict_keys.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {row[0]: tuple(map(int, row[1].split("x"))) for row in rows}


def zooming_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the published Zooming Slow-Mo: those of VideoINR but for its SIRENs."""
    return {name: shape for name, shape in published_shapes().items() if "_imnet." not in name}


def small_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the small configuration."""
    return {key: tuple(tensor.shape) for key, tensor in VideoINR(SMALL).state_dict().items()}


def reference_state_dict(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Fill tensors of these names and shapes."""
    return {key: reference_tensor(key, shape) for key, shape in shapes.items()}


def frame(h: int, w: int, t: float) -> NDArray[np.float32]:
    """RGB frame (3, h, w), float32 in [0, 1], at time t in frames: drifting sinusoids under a moving soft disc."""
    y, x = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
    px, py = x - 1.5 * t, y + 0.75 * t  # the background drifts
    cx, cy, r = 0.35 * w + 3.0 * t, 0.45 * h + 2.0 * t, 0.22 * min(h, w)  # the disc moves the other way
    inside = 1.0 / (1.0 + np.exp(np.clip((np.hypot(x - cx, y - cy) - r) * 2.5, -40, 40)))
    out = np.empty((3, h, w))
    for c, base in enumerate((0.85, 0.30, 0.15)):
        back = (
            0.5
            + 0.16 * np.sin(0.37 * px + 0.11 * py + 0.9 * c)
            + 0.12 * np.sin(0.83 * py - 0.21 * px + 1.7 * c + 0.4)
            + 0.08 * np.sin(1.31 * px + 1.07 * py + 2.3 * c)
        )
        disc = base + 0.10 * np.sin(0.9 * (x - cx) + 0.5 * c) * np.cos(0.7 * (y - cy))
        out[c] = back * (1 - inside) + disc * inside
    return np.clip(out, 0, 1).astype(np.float32)


def pair(h: int, w: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return frames 0 and 1 as tensors (1, 3, h, w)."""
    return torch.from_numpy(frame(h, w, 0))[None], torch.from_numpy(frame(h, w, 1))[None]


def case(name: str) -> dict[str, Any]:
    """Load what the reference implementation returned."""
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        return dict(arrays)
