"""A network that computes nothing: what its frames cost is the plugin around it.

Not part of the package. A script that uses it calls `register` before it makes its first filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vs_videoinr.networks import registry
from vs_videoinr.networks.base import Network, Shapes, VideoField, checked_query


@dataclass(frozen=True)
class CopyingConfig:
    """There is nothing to configure."""


class CopyingField(VideoField):
    """A pair of frames; the nearer one is the picture at every time."""

    def __init__(self, frame0: Tensor, frame1: Tensor) -> None:
        self._frames = frame0, frame1

    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:  # noqa: ARG002
        """See `VideoField.sample`; `size` has to be that of the frames."""
        t, _ = checked_query(t, size)
        return self._frames[t >= 0.5].float()

    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:  # noqa: ARG002
        """See `VideoField.motion`: nothing moves."""
        return self._frames[0].new_zeros(1, 4, *size)

    def nbytes(self) -> int:
        """See `VideoField.nbytes`."""
        return sum(frame.nbytes for frame in self._frames)


class Copying(Network):
    """A network whose fields hold the two frames as they are."""

    architecture = "copying"
    Config = CopyingConfig

    def __init__(self, config: CopyingConfig) -> None:
        super().__init__(config)
        self.config = config
        self.copying = nn.Parameter(torch.zeros(1))  # where a network's device and dtype are read from

    @classmethod
    def matches(cls, shapes: Shapes) -> bool:
        """See `Network.matches`."""
        return set(shapes) == {"copying"}

    @classmethod
    def config_from_shapes(cls, shapes: Shapes, settings: Mapping[str, object]) -> CopyingConfig:  # noqa: ARG003
        """See `Network.config_from_shapes`."""
        return CopyingConfig()

    def settings(self) -> dict[str, str | int | float | bool]:
        """See `Network.settings`."""
        return {}

    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:  # noqa: ARG002
        """See `Network.encode`."""
        return CopyingField(*self.checked_frames(frame0, frame1))


def register(folder: Path) -> str:
    """Let this process know the network; the path of its model, which is made in `folder`."""
    registry.ARCHITECTURES = (*registry.ARCHITECTURES, Copying)
    from vs_videoinr.weights import library  # after it is known

    return str(library.save(Copying(CopyingConfig()), folder, "copying").weights)
