"""What is kept of the pairs of frames that were asked for last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from vs_videoinr.networks.base import VideoField
from vs_videoinr.rendering.out_of_range import OutOfRange

#: Fields of the pairs used last are kept up to this many bytes. Output frames come nearly in order, so a few are enough
#: to encode every pair once.
MAX_BYTES = 512 << 20
MAX_FIELDS = 6

#: Numbers of a pair's source frames.
Pair = tuple[int, int]


@dataclass(frozen=True)
class CachedField:
    """A pair of frames as a network knows it, and what of it the network does not see."""

    field: VideoField
    out_of_range: OutOfRange | None

    def nbytes(self) -> int:
        """Bytes that it holds now."""
        return self.field.nbytes() + (0 if self.out_of_range is None else self.out_of_range.nbytes())


class FieldCache:
    """Fields by pair."""

    def __init__(self, least: int) -> None:
        """Keep the `least` fields that were used last whatever they take."""
        self._least = least
        self._fields: OrderedDict[Pair, CachedField] = OrderedDict()
        self._new_bytes = 0  # of a field as it is when nothing has been asked of it yet

    def get(self, pair: Pair) -> CachedField | None:
        """Return a pair's field, which becomes the one used last, if it is kept."""
        if pair in self._fields:
            self._fields.move_to_end(pair)
        return self._fields.get(pair)

    def peek(self, pair: Pair) -> CachedField | None:
        """Return a pair's field, if it is kept, without making it the one used last."""
        return self._fields.get(pair)

    def put(self, pair: Pair, cached: CachedField) -> None:
        """Keep a new field, which is the one used last."""
        self._fields[pair] = cached
        self._new_bytes = cached.nbytes()
        self.evict()

    def evict(self, coming: bool = False) -> None:
        """Let go of the pairs asked for longest ago where all are too much: fields grow by what they keep of frames.

        With `coming`, of what a new field will leave no room for, before it is made. Where the `least` are too much,
        all but the last two keep nothing that is of the output's size: a frame is made of no more pairs at a time.
        """
        coming_bytes = self._new_bytes if coming else 0
        size = coming_bytes + sum(other.nbytes() for other in self._fields.values())
        more = int(coming_bytes > 0)
        while (count := len(self._fields) + more) > MAX_FIELDS or (size > MAX_BYTES and count > self._least):
            _, dropped = self._fields.popitem(last=False)
            size -= dropped.nbytes()
        if size > MAX_BYTES:
            for cached in list(self._fields.values())[: -1 if coming else -2]:
                cached.field.release()

    def clear(self) -> None:
        """Let go of everything."""
        self._fields.clear()
