"""Frames on demand: a pair of source frames becomes a field once, and is sampled for every output frame in between."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vs_videoinr import worker
from vs_videoinr.beyond import EXTREME, Beyond
from vs_videoinr.compensation import motion_compensate
from vs_videoinr.flow import Look
from vs_videoinr.host import Host
from vs_videoinr.model import interrupt
from vs_videoinr.model.base import Flows, Network, VideoField

#: A frame's planes as (memory, stride in bytes), single precision: R, G, B or one gray plane.
Planes = tuple[tuple[memoryview, int], ...]

#: Fields of the pairs used last are kept up to this many bytes; the newest is kept whatever it takes. Output frames
#: come nearly in order, so a few are enough to encode every pair once.
CACHE_BYTES = 512 << 20
CACHE_FIELDS = 4
CACHE_FLOWS = 4  # of how many pairs it is remembered how they move


@dataclass(frozen=True)
class Span:
    """A pair of source frames and those around it.

    Of all of them the network sees the values from 0 to 1; what lies beyond in the pair goes past it (see
    `vs_videoinr.beyond`). NaN counts as 0.

    Attributes:
        left: Number of the left source frame: with `right`, what the field is remembered by.
        right: Number of the right source frame; equal to `left` where the picture holds.
        frame0: The left frame.
        frame1: The right frame.
        before: The frame before the left one, `left` - 1; None where it has nothing to say of the pair.
        after: The frame after the right one, `right` + 1, likewise.
    """

    left: int
    right: int
    frame0: Planes
    frame1: Planes
    before: Planes | None = None
    after: Planes | None = None

    @property
    def pair(self) -> tuple[int, int]:
        """What the pair's field is remembered by."""
        return self.left, self.right


@dataclass(frozen=True)
class ChromaResidual:
    """Subsampled chroma that a pair of RGB frames lacks, because it was brought to full size for RGB: U and V.

    It goes past the network, along the network's motion, so that chroma of frames between is as sharp as the source's.

    Attributes:
        size: (width, height) of the chroma planes.
        frame0: What the left frame lacks.
        frame1: What the right frame lacks.
        output: Where that goes which the rendered frame lacks.
    """

    size: tuple[int, int]
    frame0: Planes
    frame1: Planes
    output: Planes


class RenderError(RuntimeError):
    """A frame could not be made; the message is for the user."""


class Renderer:
    """Renders output frames of one filter. May be called from any thread, also from several at once.

    The same frames, time and size give the same bits, in whatever order they are asked for.

    Attributes:
        source_size: The source's (width, height).
        size: The output's (width, height).
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        dtype: torch.dtype,
        source_size: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        self.source_size = source_size
        self.size = size
        self._network: Network | None = network
        self._device = device
        self._dtype = dtype
        self._closed = False
        self._host = Host()
        self._fields: OrderedDict[tuple[int, int], _Kept] = OrderedDict()
        self._flows: OrderedDict[tuple[int, int], Flows | None] = OrderedDict()
        self._encoded = 0  # bytes of a field as it is when nothing has been asked of it yet
        self._played: int | None = None  # the left frame of the pair that was asked for last
        self._worker = worker.acquire(device)

    def render(self, span: Span, t: float, output: Planes, residual: ChromaResidual | None = None) -> None:
        """Write the frame at time `t` of a pair into `output`.

        Args:
            span: The pair, and the frames around it.
            t: 0 (left) to 1 (right).
            output: Where the picture goes; as many planes as the frames have.
            residual: What the pair lacks of its chroma, and where what the picture lacks of it goes.

        Raises:
            RenderError: Out of memory, or closed meanwhile.
        """
        self._call(lambda: self._render(span, t, output, residual))

    def motion(self, span: Span, t: float, output: Planes, look: Look) -> None:
        """Write the motion at time `t`, of `size`, into three planes: in colours, or as x, y and 0 in output pixels.

        Args:
            span: As for `render`; nothing moves in a pair of one and the same frame.
            t: As for `render`.
            output: Where the result goes.
            look: What is shown, and how.

        Raises:
            RenderError: Out of memory, or closed meanwhile.
        """
        self._call(lambda: self._motion(span, t, output, look))

    def _call(self, work: Callable[[], None]) -> None:
        def checked() -> None:
            with interrupt.checked(self._check):
                work()

        try:
            self._run(checked)
        except worker.Abandoned:
            raise RenderError("abandoned, the filter is being freed") from None

    def close(self) -> None:
        """Forget everything; work in progress stops at its next layer or chunk of pixels."""
        if not self._closed:
            self._closed = True
            self._fields.clear()
            self._flows.clear()
            self._network = None
            worker.release(self._device)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            self._worker.run(work)
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        try:
            self._worker.run(self._make_room)
            self._worker.run(work)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            remedies = "" if self._device.type == "cpu" else ' or use device="cpu"'
            raise RenderError(
                f"out of memory on {self._device} for {self.source_size[0]}x{self.source_size[1]} to "
                f"{self.size[0]}x{self.size[1]}; lower scale, width or height, crop the clip or give it a smaller "
                f"size first{remedies}"
            ) from None

    def _make_room(self) -> None:
        """Let go of other pairs' fields, which may be what is in the way."""
        self._fields.clear()
        self._flows.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _check(self) -> None:
        if self._closed or worker.exiting.is_set() or self._host.is_leaving():
            raise worker.Abandoned

    def _render(self, span: Span, t: float, output: Planes, residual: ChromaResidual | None) -> None:
        kept = self._kept(span.pair, span.frame0, span.frame1)
        field = self._among(kept.field, span)
        width, height = self.size
        picture = field.sample(t, (height, width), check=self._check).float().clamp_(0, 1)
        self._forget()  # a field may have grown by what it keeps for the next time
        if kept.beyond is not None:
            picture += kept.beyond.at(field, t, (height, width))
        if len(output) == 1:
            picture = picture.mean(dim=1, keepdim=True)
        self._write(picture[0], output, self.size)
        if residual is not None:
            ends = [self._read(planes, residual.size) for planes in (residual.frame0, residual.frame1)]
            moved = motion_compensate(field, t, ends[0], ends[1], "bicubic")
            self._write(moved[0], residual.output, residual.size)

    def _motion(self, span: Span, t: float, output: Planes, look: Look) -> None:
        width, height = self.size
        motion = torch.zeros(2, height, width)
        if span.left != span.right:
            field = self._among(self._kept(span.pair, span.frame0, span.frame1).field, span)
            motion = field.motion(t, (height, width), check=self._check)[0, 2 * look.toward : 2 * look.toward + 2].cpu()
        shown = F.pad(motion, (0, 0, 0, 0, 0, 1)) if look.colours is None else look.colours(motion)
        self._write(shown, output, self.size)

    def _kept(self, pair: tuple[int, int], frame0: Planes, frame1: Planes) -> _Kept:
        """What a pair of frames has become, remembered from the last time or made now."""
        kept = self._fields.get(pair)
        if kept is None:
            self._forget(self._encoded)  # before it is there: it may be that there is room for one only
            frames = [self._frame(planes) for planes in (frame0, frame1)]
            inside = [self._inside(frame) for frame in frames]
            kept = _Kept(self._open().encode(inside[0], inside[1]), Beyond.of(frames, inside))
            self._fields[pair] = kept
            self._encoded = kept.nbytes()
            self._forget()
        else:
            self._fields.move_to_end(pair)
        return kept

    def _among(self, field: VideoField, span: Span) -> VideoField:
        """The field of a pair, told of the pairs around it."""
        left, right = span.left, span.right
        played, self._played = self._played, left
        if span.before is None and span.after is None:
            return field
        # Whoever plays on needs all of the next pair soon. Whoever seeks does not, nor is there always room for it.
        ahead = left - 1 == played and 3 * field.nbytes() < CACHE_BYTES
        before = None if span.before is None else self._moves((left - 1, left), span.before, span.frame0)
        if ahead and span.after is not None:
            self._kept((right, right + 1), span.frame1, span.after)
            self._fields.move_to_end(span.pair)
        after = None if span.after is None else self._moves((right, right + 1), span.frame1, span.after)
        return field.among(before, after)

    def _moves(self, pair: tuple[int, int], frame0: Planes, frame1: Planes) -> Flows | None:
        """How a pair of frames moves, remembered or found now."""
        if pair in self._flows:
            self._flows.move_to_end(pair)
        else:
            kept = self._fields.get(pair)
            frames = [self._inside(self._frame(planes)) for planes in (frame0, frame1)]
            self._flows[pair] = self._open().flows(frames[0], frames[1]) if kept is None else kept.field.flows
            if len(self._flows) > CACHE_FLOWS:
                self._flows.popitem(last=False)
        return self._flows[pair]

    def _open(self) -> Network:
        """The network, as long as somebody waits for what it makes."""
        self._check()
        if self._network is None:
            raise worker.Abandoned
        return self._network

    def _inside(self, frame: Tensor) -> Tensor:
        """What the network sees of a frame."""
        return frame.clamp(0, 1).to(self._dtype)

    def _write(self, picture: Tensor, output: Planes, size: tuple[int, int]) -> None:
        values: NDArray[np.float32] = picture.cpu().numpy()
        for plane, (memory, stride) in zip(values, output, strict=True):
            np.copyto(_view(memory, stride, size), plane)

    def _forget(self, coming: int = 0) -> None:
        """Let go of the pairs asked for longest ago, where all are too much; with one of `coming` bytes, if not 0."""
        size, more = coming + sum(other.nbytes() for other in self._fields.values()), int(coming > 0)
        while (count := len(self._fields) + more) > CACHE_FIELDS or (size > CACHE_BYTES and count > 1):
            _, dropped = self._fields.popitem(last=False)
            size -= dropped.nbytes()

    def _frame(self, planes: Planes) -> Tensor:
        frame = self._read(planes, self.source_size)
        return frame.expand(-1, 3, -1, -1) if len(planes) == 1 else frame

    def _read(self, planes: Planes, size: tuple[int, int]) -> Tensor:
        frame = torch.from_numpy(frame_of(planes, size))[None]
        # no picture, but nothing that arithmetic would spread either
        return frame.to(self._device).nan_to_num_(0.0, 1.0, 0.0).clamp_(-EXTREME, EXTREME)


@dataclass(frozen=True)
class _Kept:
    """What is remembered of a pair of frames."""

    field: VideoField
    beyond: Beyond | None

    def nbytes(self) -> int:
        return self.field.nbytes() + (0 if self.beyond is None else self.beyond.nbytes())


def frame_of(planes: Planes, size: tuple[int, int]) -> NDArray[np.float32]:
    """Copy planes of (width, height) into an array (planes, height, width)."""
    return np.stack([_view(memory, stride, size) for memory, stride in planes])


def _view(memory: memoryview, stride: int, size: tuple[int, int]) -> NDArray[np.float32]:
    width, height = size
    return np.ndarray((height, width), np.float32, memory, strides=(stride, 4))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python or torch means that memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
