"""What every network of this family answers, and how it is built from a checkpoint.

A pair of frames becomes a field, and a field can be sampled at any time and size. Everything outside
`vs_videoinr.networks` is written against these two calls and knows nothing of how they work. The class methods let
`vs_videoinr.weights` build any registered network from the names and shapes of a checkpoint's tensors alone.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vs_videoinr.networks.limits import Limits

#: Tensor names of a checkpoint and their shapes.
Shapes = Mapping[str, tuple[int, ...]]

#: How a pair of frames moves, as a network tells it to the fields of neighbouring pairs: by flows, or by the frames
#: themselves where it looks for motion in all of them together. Opaque to everybody else.
PairMotion = Any

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


class VideoField(ABC):
    """A pair of frames, ready to be sampled at any time between them and at any size."""

    def with_neighbours(self, before: PairMotion | None, after: PairMotion | None) -> VideoField:  # noqa: ARG002
        """Return the same pair, knowing how the pairs around it move.

        `before` is of the pair that ends with its frame 0, `after` of the one that begins with its frame 1; None where
        that is not known. Nothing changes for networks without `Network.uses_neighbours`.
        """
        return self

    @property
    def pair_motion(self) -> PairMotion | None:
        """What the fields of neighbouring pairs are told by `with_neighbours`."""
        return None

    def release(self) -> None:  # noqa: B027 - most keep nothing of that kind
        """Let go of what was made for the size asked for last; it is made again, bit for bit, when it is asked for."""

    @abstractmethod
    def sample(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """Return the frame at time `t` (0 is frame 0, 1 is frame 1) as (B, 3, height, width).

        `size` is (height, width). The result is float32 on the network's device, whatever the network computes in;
        values are not clamped. `check` is called between chunks of pixels and may raise to abandon the work.

        Raises:
            LimitError: The network does not know that time or size; see `Network.limits`.
            ValueError, TypeError: See `checked_query`.
        """

    @abstractmethod
    def motion(self, t: float, size: tuple[int, int], *, check: Callable[[], None] | None = None) -> Tensor:
        """Return where the picture at time `t` comes from, float32 (B, 4, height, width).

        Channels: x, y from each place to its content's in frame 0, then in frame 1, in pixels of `size`.

        Raises:
            LimitError: The network knows no motion; see `Network.limits`.
            ValueError, TypeError: See `checked_query`.
        """

    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of tensor memory that the field holds now; sampling may add to them."""


class Network(nn.Module, ABC):
    """A network that turns two consecutive frames into a `VideoField`.

    A subclass is a frozen dataclass `Config` away from its sizes: the constructor takes nothing else, and registering
    the class in `vs_videoinr.networks.registry` is all that a checkpoint needs to find it.
    """

    #: Name by which model cards and checkpoints refer to this class.
    architecture: ClassVar[str]

    #: What messages call checkpoints of this architecture.
    title: ClassVar[str] = "VideoINR"

    #: Frozen dataclass of everything that distinguishes one size of this architecture from another.
    Config: ClassVar[type[Any]]

    #: Whether fields use the motion of the pairs before and after them.
    uses_neighbours: ClassVar[bool] = False

    #: Whether a GPU is to compute in half precision where nobody says: nobody can tell the pictures apart.
    half_on_gpu: ClassVar[bool] = False

    #: The sizes and times that fields can be sampled at, and whether they know motion.
    limits: ClassVar[Limits] = Limits()

    #: Names (first dotted part) of tensors that a checkpoint may hold and the network never touches.
    unused: ClassVar[frozenset[str]] = frozenset()

    config: Any

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """Build the network with freshly initialised weights for a `Config`."""
        super().__init__()

    @classmethod
    @abstractmethod
    def matches(cls, shapes: Shapes) -> bool:
        """Tell by tensor names whether a checkpoint is meant for this architecture (its shapes may still be wrong)."""

    @classmethod
    @abstractmethod
    def config_from_shapes(cls, shapes: Shapes, settings: Mapping[str, object]) -> Any:
        """Infer the `Config` of a checkpoint.

        Args:
            shapes: Every tensor of the checkpoint. They are not verified yet: read only what the sizes need; the
                caller compares all of them with the network that the returned configuration builds.
            settings: Settings that shapes do not tell, from the checkpoint's metadata or card; all have defaults.

        Raises:
            ModelError: A tensor that the sizes are read from is missing or misshapen, or a setting is
                unknown; the message is the rest of a sentence that begins with the checkpoint's name and a colon.
        """

    @abstractmethod
    def settings(self) -> dict[str, str | int | float | bool]:
        """The settings that shapes do not tell, as `config_from_shapes` takes them back from a card."""

    @abstractmethod
    def encode(self, frame0: Tensor, frame1: Tensor, *, previous: VideoField | None = None) -> VideoField:
        """Encode two (B, 3, height, width) RGB frames in [0, 1]; any height and width from 1 up.

        Frames of any floating dtype and device are taken; they are moved to the network's own. `previous` is the field
        of a pair that ends with frame 0, if there is one: what is known of that frame need not be found again. It
        changes no bit of the result.

        Raises:
            ValueError, TypeError: See `checked_frames`.
        """

    def checked_frames(self, frame0: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
        """Return two (B, 3, height, width) RGB frames in [0, 1] on the network's device and in its dtype.

        Values a little beyond [0, 1] are taken as they are. Frames that lie on a CPU are looked at for others, in one
        pass; of others, that would mean to wait for their device.

        Raises:
            TypeError: A frame is no tensor of floating point numbers.
            ValueError: The frames are not of one such shape, or hold values below -1, above 2 or that are no numbers.
        """
        like = next(self.parameters())
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
            if frame.device.type != "cpu":
                continue
            lowest, highest = (float(value) for value in frame.detach().aminmax())
            if not _LOWEST <= lowest <= highest <= _HIGHEST:  # also refuses NaN
                raise ValueError(f"{name} must hold numbers from 0 (black) to 1 (white), got {lowest:g} to {highest:g}")
        if frame0.shape != frame1.shape:
            raise ValueError(
                f"frame0 and frame1 must be of one shape, got {tuple(frame0.shape)} and {tuple(frame1.shape)}"
            )
        return frame0.to(like), frame1.to(like)
