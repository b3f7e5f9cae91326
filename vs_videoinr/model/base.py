"""What every network of this family answers, and how it is built from a checkpoint.

A pair of frames becomes a field, and a field can be sampled at any time and size. Everything outside
`vs_videoinr.model` is written against these two calls and knows nothing of how they work. The class methods let
`vs_videoinr.weights` build any registered network from the names and shapes of a checkpoint's tensors alone.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vs_videoinr.model.exposure import Exposure

#: Tensor names of a checkpoint and their shapes.
Shapes = Mapping[str, tuple[int, ...]]

#: Frames may lie a little beyond [0, 1], as after a bicubic resize; what lies farther is on another scale.
_LOWEST, _HIGHEST = -1.0, 2.0


def checked_query(t: float, size: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """Return time and size (height, width) of a picture that is asked for, as a float and ints.

    Raises:
        TypeError: They are no number and no pair of integers.
        ValueError: `t` is not from 0 to 1, or `size` is not two positive numbers.
    """
    try:
        t = float(t)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: tensors of several values
        raise TypeError(f"t must be a number from 0 to 1, got {t!r}") from None
    if not 0 <= t <= 1:  # also refuses NaN
        raise ValueError(f"t must be from 0 (frame 0) to 1 (frame 1), got {t:g}")
    try:
        numbers = tuple(operator.index(number) for number in size)
    except TypeError:
        raise TypeError(f"size must be two integers, height and width, got {size!r}") from None
    if len(numbers) != 2 or min(numbers) < 1:
        raise ValueError(f"size must be two positive integers, height and width, got {size!r}")
    return t, (numbers[0], numbers[1])


@dataclass(frozen=True)
class Flows:
    """A pair of frames and how it moves: what its neighbours want to know. (B, 2, h, w) in low-resolution pixels."""

    frame0: Tensor  # (B, 3, h, w)
    frame1: Tensor
    onward: Tensor  # from frame 0 to frame 1
    back: Tensor  # from frame 1 to frame 0
    unseen: Tensor  # (B, 1, h, w) bool: where there is nothing that could be seen to move
    telling: Tensor  # (B, 1, h, w) bool: where one frame can show of the other what that does not show itself
    exposure: Exposure

    def reversed(self) -> Flows:
        """The same pair the other way round."""
        return Flows(
            self.frame1, self.frame0, self.back, self.onward, self.unseen, self.telling, self.exposure.reversed()
        )

    def nbytes(self) -> int:
        """Bytes of tensor memory, but for what is next to nothing."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, Tensor))


class VideoField(ABC):
    """A pair of frames, ready to be sampled at any time between them and at any size."""

    def among(self, before: Flows | None, after: Flows | None) -> VideoField:  # noqa: ARG002
        """The same pair, knowing of the pair `before` it, which ends with its frame 0, and of the one `after` it.

        None where that is not known. Nothing changes for networks that do not mind (`Network.minds_neighbours`).
        """
        return self

    @property
    def flows(self) -> Flows | None:
        """What neighbours want to know of this pair: what `Network.flows` returns of its frames."""
        return None

    @abstractmethod
    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """Return the frame at time `t` (0 is frame 0, 1 is frame 1) as (B, 3, height, width).

        `size` is (height, width). The result is float32 on the network's device, whatever the network computes in;
        values are not clamped. `check` is called between chunks of pixels and may raise to abandon the work.

        Raises:
            ValueError, TypeError: See `checked_query`.
        """

    @abstractmethod
    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """Return where the picture at time `t` comes from, float32 (B, 4, height, width).

        Channels: x, y from each place to its content's in frame 0, then in frame 1, in pixels of `size`.

        Raises:
            ValueError, TypeError: See `checked_query`.
        """

    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of tensor memory that the field holds now; sampling may add to them."""


class Network(nn.Module, ABC):
    """A network that turns two consecutive frames into a `VideoField`.

    A subclass is a frozen dataclass `Config` away from its sizes: the constructor takes nothing else, and registering
    the class in `vs_videoinr.model.registry` is all that a checkpoint needs to find it.
    """

    #: Name by which model cards and checkpoints refer to this class.
    architecture: ClassVar[str]

    #: Frozen dataclass of everything that distinguishes one size of this architecture from another.
    Config: ClassVar[type[Any]]

    #: Whether fields use what they are told of the pairs before and after them.
    minds_neighbours: ClassVar[bool] = False

    #: Names (first dotted part) of tensors that a checkpoint may hold and the network never touches.
    unused: ClassVar[frozenset[str]] = frozenset()

    config: Any

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """Build the network with freshly initialised weights for a `Config`."""
        super().__init__()

    @classmethod
    @abstractmethod
    def recognises(cls, shapes: Shapes) -> bool:
        """Tell by tensor names whether a checkpoint is meant for this architecture (its shapes may still be wrong)."""

    @classmethod
    @abstractmethod
    def config_from_shapes(cls, shapes: Shapes, declared: Mapping[str, object]) -> Any:
        """Infer the `Config` of a checkpoint.

        Args:
            shapes: Every tensor of the checkpoint. They are not verified yet: read only what the sizes need; the
                caller compares all of them with the network that the returned configuration builds.
            declared: Settings that shapes do not tell, from the checkpoint's metadata or card; all have defaults.

        Raises:
            ModelError: A tensor that the sizes are read from is missing or misshapen, or a declared setting is
                unknown; the message is the rest of a sentence that begins with the checkpoint's name and a colon.
        """

    @abstractmethod
    def declared(self) -> dict[str, str | int | float | bool]:
        """The settings that shapes do not tell, as `config_from_shapes` takes them back from a card."""

    @abstractmethod
    def encode(self, frame0: Tensor, frame1: Tensor) -> VideoField:
        """Encode two (B, 3, height, width) RGB frames in [0, 1]; any height and width from 1 up.

        Frames of any floating dtype and device are taken; they are moved to the network's own.

        Raises:
            ValueError, TypeError: See `checked_frames`.
        """

    def flows(self, frame0: Tensor, frame1: Tensor) -> Flows | None:
        """How two frames move, which is less work than to `encode` them; None from what minds no neighbours.

        Raises:
            ValueError, TypeError: See `checked_frames`.
        """
        self.checked_frames(frame0, frame1)
        return None

    def checked_frames(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Return two (B, 3, height, width) RGB frames in [0, 1] on the network's device and in its dtype.

        Values a little beyond [0, 1] are taken as they are. To look at all of them is one pass over the frames, next to
        nothing beside what is done with them.

        Raises:
            TypeError: A frame is no tensor of floating point numbers.
            ValueError: The frames are not of one such shape, or hold values below -1, above 2 or that are no numbers.
        """
        like = next(self.parameters())
        frames = []
        for name, frame in (("frame0", frame0), ("frame1", frame1)):
            if not isinstance(frame, Tensor):
                raise TypeError(f"{name} must be a torch tensor, got {type(frame).__name__}; see torch.from_numpy")
            if not frame.is_floating_point():
                raise TypeError(
                    f"{name} must hold floating point numbers from 0 to 1, got {frame.dtype}; "
                    "divide by 255, which is the largest number of 8 bits"
                )
            if frame.ndim != 4 or frame.shape[1] != 3 or 0 in frame.shape:
                raise ValueError(f"{name} must be (batch, 3, height, width), got {tuple(frame.shape)}")
            frames.append(frame.to(like.device, like.dtype))
            lowest, highest = (float(value) for value in frames[-1].detach().aminmax())
            if not _LOWEST <= lowest <= highest <= _HIGHEST:  # also refuses NaN
                raise ValueError(f"{name} must hold numbers from 0 (black) to 1 (white), got {lowest:g} to {highest:g}")
        if frame0.shape != frame1.shape:
            raise ValueError(
                f"frame0 and frame1 must be of one shape, got {tuple(frame0.shape)} and {tuple(frame1.shape)}"
            )
        return frames[0], frames[1]

    @staticmethod
    def from_state_dict(state_dict: Mapping[str, Any], declared: Mapping[str, object] | None = None) -> Network:
        """Build a frozen network, on the CPU in float32, from tensors (torch or numpy) named as published.

        Whichever subclass it is called on, the tensors decide which registered architecture is built.

        Raises:
            ModelError: The tensors are no checkpoint of any; `.report` says what is missing or misshapen.
        """
        from vs_videoinr import weights

        return weights.from_state_dict(state_dict, declared)

    @staticmethod
    def load(name_or_path: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Network:
        """Load a bundled or imported model by name, or a checkpoint by path; equal loads share one frozen network.

        Whichever subclass it is called on, the checkpoint decides which registered architecture is built.

        Raises:
            ModelError: There is no such model, or it is not a checkpoint of any architecture.
        """
        from vs_videoinr import weights

        return weights.load(name_or_path, device, dtype)
