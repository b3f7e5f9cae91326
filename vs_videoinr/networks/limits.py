"""What a network cannot be asked for, and the sentence that says so.

The plugin asks before the first frame, `VideoField.sample` and `VideoField.motion` when they are called; both say the
same.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The model that messages name, for it has no limits: the package always has it (`weights.catalogue.DEFAULT`).
UNLIMITED_MODEL = "lite"

#: A time so close to one that a network knows is that one: what floats make of 1/48 s at 24 fps is half a frame.
TIME_TOLERANCE = 1e-6


class LimitError(ValueError):
    """Something is asked of a network that it cannot do; the message names a model that can."""


@dataclass(frozen=True)
class Limits:
    """The sizes and times that a network knows, and whether it knows motion; the default is all of them.

    Attributes:
        network: What messages call it.
        scale: The only output size / input size; None: any size.
        times: The only times, evenly spaced from 0 to 1; empty: any time.
        motion: Whether it can say where a picture comes from.
    """

    network: str = ""
    scale: int | None = None
    times: tuple[float, ...] = ()
    motion: bool = True

    def check_size(self, source: tuple[int, int], size: tuple[int, int]) -> None:
        """Check that frames of `source` can be brought to `size`, both (height, width).

        Raises:
            LimitError: They cannot.
        """
        if self.scale is not None and size != (self.scale * source[0], self.scale * source[1]):
            only = f"{source[1] * self.scale}x{source[0] * self.scale}"
            raise LimitError(
                f"{self.network} enlarges {self.scale} times only, as scale={self.scale} does: "
                f"{source[1]}x{source[0]} to {only} and not to {size[1]}x{size[0]}; "
                f'the model "{UNLIMITED_MODEL}" knows any size'
            )

    def known_time(self, t: float) -> float:
        """Return `t`, 0 to 1, or of the times that are known the one that it is within TIME_TOLERANCE of.

        Raises:
            LimitError: There is none.
        """
        if not self.times:
            return t
        nearest = min(self.times, key=lambda time: abs(time - t))
        if abs(nearest - t) > TIME_TOLERANCE:
            *most, last = (f"{time:g}" for time in self.times)
            raise LimitError(
                f"{self.network} knows the times {', '.join(most)} and {last} between two frames only, "
                f"as factor_num={len(most)} has them, and not {t:.9g}; "
                f'the model "{UNLIMITED_MODEL}" knows any time'
            )
        return nearest

    def no_motion(self) -> LimitError:
        """Return what is raised where motion is asked for that is not known."""
        return LimitError(f'{self.network} knows no motion that could be shown; the model "{UNLIMITED_MODEL}" does')
