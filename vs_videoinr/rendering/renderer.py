"""Frames on demand: a pair of source frames becomes a field once, and is sampled for every output frame in between."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vs_videoinr.networks import bands, cancellation
from vs_videoinr.networks.base import Network, VideoField
from vs_videoinr.rendering import accelerator, device_worker, field_cache, planes, transfer
from vs_videoinr.rendering.field_cache import CachedField, FieldCache
from vs_videoinr.rendering.flow_colours import FlowView
from vs_videoinr.rendering.host_shutdown import Host
from vs_videoinr.rendering.motion_compensation import motion_compensate
from vs_videoinr.rendering.out_of_range import OutOfRange
from vs_videoinr.rendering.planes import Planes

_logger = logging.getLogger(__name__)

#: Source frames that are kept as they were read: a pair begins with the frame that the one before it ends with.
MAX_FRAMES = 2


@dataclass(frozen=True)
class FramePair:
    """A pair of source frames and those around it.

    Of all of them the network sees the values from 0 to 1; what lies beyond in the pair goes past it (see
    `vs_videoinr.rendering.out_of_range`). NaN counts as 0.

    Attributes:
        left: Number of the left source frame: with `right`, what the field is remembered by.
        right: Number of the right source frame; equal to `left` where the picture holds.
        frame0: The left frame.
        frame1: The right frame.
        before: The frame before the left one, `left` - 1; None where it tells nothing of the pair.
        after: The frame after the right one, `right` + 1, likewise.
    """

    left: int
    right: int
    frame0: Planes
    frame1: Planes
    before: Planes | None = None
    after: Planes | None = None

    @property
    def numbers(self) -> field_cache.Pair:
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


@dataclass(frozen=True)
class SourceFrame:
    """A source frame as it was read, (1, 3, height, width).

    Attributes:
        inside: What the network sees of it, from 0 to 1. Fields may hold it: it is never written to.
        beyond: What that lacks; None where it lacks nothing.
    """

    inside: Tensor
    beyond: Tensor | None


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
        source_size: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        self.source_size = source_size
        self.size = size
        self._network: Network | None = network
        self._has_motion = network.limits.motion
        self._device = device
        self._dtype = next(network.parameters()).dtype
        self._closed = False
        self._host = Host()
        # Where pairs tell each other of their motion, the two around the one that is shown are used with it.
        self._cache = FieldCache(least=3 if network.uses_neighbours else 1)
        self._frames: OrderedDict[int, SourceFrame] = OrderedDict()
        self._worker = device_worker.acquire(device)

    def render(self, pair: FramePair, t: float, output: Planes, residual: ChromaResidual | None = None) -> None:
        """Write the frame at time `t` of a pair into `output`.

        Args:
            pair: The pair, and the frames around it.
            t: 0 (left) to 1 (right).
            output: Where the picture goes; as many planes as the frames have.
            residual: What the pair lacks of its chroma, and where what the picture lacks of it goes.

        Raises:
            RenderError: Out of memory, or closed meanwhile.
        """
        self._call(lambda: self._render(pair, t, output, residual))

    def motion(self, pair: FramePair, t: float, output: Planes, view: FlowView) -> None:
        """Write the motion at time `t`, of `size`, into three planes: in colours, or as x, y and 0 in output pixels.

        Args:
            pair: As for `render`; nothing moves in a pair of one and the same frame.
            t: As for `render`.
            output: Where the result goes.
            view: What is shown, and how.

        Raises:
            RenderError: Out of memory, or closed meanwhile.
        """
        self._call(lambda: self._motion(pair, t, output, view))

    def _call(self, work: Callable[[], None]) -> None:
        def checked() -> None:
            with cancellation.checked(self._check):
                work()

        try:
            self._run(checked)
        except device_worker.Abandoned:
            raise RenderError("abandoned, the filter is being freed") from None

    def close(self) -> None:
        """Forget everything; work in progress stops at its next layer or chunk of pixels."""
        if not self._closed:
            self._closed = True
            self._cache.clear()
            self._frames.clear()
            self._network = None
            device_worker.release(self._device)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            self._worker.run(work)
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        if bands.lower(self._device):
            _logger.warning("videoinr: %s; going on in smaller parts", self._out_of_memory())
        try:
            self._worker.run(self._make_room)
            self._worker.run(work)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            remedies = "" if self._device.type == "cpu" else ' or use device="cpu"'
            raise RenderError(
                f"{self._out_of_memory()}; lower scale, width or height, crop the clip or give it a smaller size first"
                f"{remedies}"
            ) from None

    def _out_of_memory(self) -> str:
        source, size = ("{}x{}".format(*side) for side in (self.source_size, self.size))
        return f"out of memory on {self._device} for {source} to {size}"

    def _make_room(self) -> None:
        """Let go of other pairs' fields, which may be what is in the way."""
        self._cache.clear()
        self._frames.clear()
        bands.trim()
        accelerator.empty_cache(self._device)

    def _check(self) -> None:
        if self._closed or device_worker.exiting.is_set() or self._host.is_leaving():
            raise device_worker.Abandoned

    def _render(self, pair: FramePair, t: float, output: Planes, residual: ChromaResidual | None) -> None:
        cached = self._cached(pair.numbers, pair.frame0, pair.frame1)
        field = self._with_neighbours(cached.field, pair)
        width, height = self.size
        picture = field.sample(t, (height, width), check=self._check)
        self._cache.evict()  # a field may have grown by what it keeps for the next time
        limited = cached.out_of_range is None and len(output) > 1  # on the way into the planes, in one pass
        if not limited:
            picture = picture.clamp(0, 1)
        if cached.out_of_range is not None:
            picture += cached.out_of_range.at(field if self._has_motion else None, t, (height, width))
        if len(output) == 1:
            picture = picture.mean(dim=1, keepdim=True)
        made = [picture[0]]
        if residual is not None:
            ends = [planes.read(end, residual.size, self._device)[0] for end in (residual.frame0, residual.frame1)]
            made.append(motion_compensate(field, t, ends[0], ends[1], "bicubic")[0])
        made = transfer.to_host(made)
        planes.write(made[0], output, self.size, limited=limited)
        if residual is not None:
            planes.write(made[1], residual.output, residual.size)

    def _motion(self, pair: FramePair, t: float, output: Planes, view: FlowView) -> None:
        width, height = self.size
        motion = torch.zeros(2, height, width)
        if pair.left != pair.right:
            field = self._with_neighbours(self._cached(pair.numbers, pair.frame0, pair.frame1).field, pair)
            ways = field.motion(t, (height, width), check=self._check)[0]
            motion = transfer.to_host([ways[2 * view.toward : 2 * view.toward + 2]])[0]
        shown = F.pad(motion, (0, 0, 0, 0, 0, 1)) if view.colours is None else view.colours(motion)
        planes.write(shown, output, self.size)

    def _cached(self, numbers: field_cache.Pair, frame0: Planes, frame1: Planes) -> CachedField:
        """What a pair of frames has become, kept from the last time or made now."""
        cached = self._cache.get(numbers)
        if cached is None:
            self._cache.evict(coming=True)
            first, second = self._frame(numbers[0], frame0), self._frame(numbers[1], frame1)
            previous = self._cache.peek((numbers[0] - 1, numbers[0]))
            known = None if previous is None else previous.field
            field = self._open().encode(first.inside, second.inside, previous=known)
            cached = CachedField(field, OutOfRange.of(first.beyond, second.beyond))
            self._cache.put(numbers, cached)
        return cached

    def _with_neighbours(self, field: VideoField, pair: FramePair) -> VideoField:
        """The field of a pair, told of the pairs around it."""
        left, right = pair.left, pair.right
        before = after = None
        if pair.before is not None:
            before = self._cached((left - 1, left), pair.before, pair.frame0).field.pair_motion
            self._cache.get(pair.numbers)  # again the one used last
        if pair.after is not None:
            after = self._cached((right, right + 1), pair.frame1, pair.after).field.pair_motion
        self._cache.get(pair.numbers)  # again the one used last
        return field if before is None and after is None else field.with_neighbours(before, after)

    def _open(self) -> Network:
        """The network, as long as somebody waits for what it makes."""
        self._check()
        if self._network is None:
            raise device_worker.Abandoned
        return self._network

    def _frame(self, number: int, frame: Planes) -> SourceFrame:
        """A source frame, kept from the last time or read now."""
        known = self._frames.get(number)
        if known is None:
            picture, in_range = planes.read(frame, self.source_size, self._device)
            picture = picture.expand(-1, 3, -1, -1)
            inside = picture if in_range else picture.clamp(0, 1)
            known = SourceFrame(inside.to(self._dtype), None if in_range else picture - inside)
            self._frames[number] = known
        self._frames.move_to_end(number)
        if len(self._frames) > MAX_FRAMES:
            self._frames.popitem(last=False)
        return known


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python or torch means that memory ran out."""
    said = "can't allocate memory", "MPS backend out of memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in said)
