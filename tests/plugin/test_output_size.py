from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vs_videoinr.plugin.output_size import output_size

sizes = st.integers(1, 1000)
multiples = st.sampled_from([1, 2, 4])


@pytest.mark.parametrize(
    ("source", "multiple", "scale", "expected"),
    [
        ((640, 360), (1, 1), 3.5, (2240, 1260)),
        ((5, 5), (1, 1), 2.3, (12, 12)),  # 11.5 as written; the binary 2.3 is a little less
        ((5, 3), (1, 1), 1.5, (8, 5)),
        ((854, 480), (2, 2), 1.5, (1282, 720)),
        ((720, 480), (4, 4), 1.0, (720, 480)),
        ((1, 1), (1, 1), 1.49, (1, 1)),
    ],
)
def test_scale_rounds_half_up_then_to_the_chroma(
    source: tuple[int, int], multiple: tuple[int, int], scale: float, expected: tuple[int, int]
) -> None:
    assert output_size(source, multiple, scale, None, None) == expected


def test_width_and_height_are_free_and_one_keeps_the_aspect() -> None:
    assert output_size((640, 360), (2, 2), None, 1280, 362) == (1280, 362)
    assert output_size((640, 360), (2, 2), None, 1280, None) == (1280, 720)
    assert output_size((640, 360), (2, 2), None, None, 500) == (890, 500)  # 888.9, then even
    assert output_size((640, 360), (1, 1), None, None, 500) == (889, 500)
    assert output_size((640, 360), (1, 1), None, None, None) == (640, 360)


@given(sizes, sizes, multiples, multiples, st.floats(1, 3))
def test_scaled_sizes_never_shrink_and_fit_the_chroma(w: int, h: int, mw: int, mh: int, scale: float) -> None:
    source = w * mw, h * mh
    width, height = output_size(source, (mw, mh), scale, None, None)
    assert width % mw == 0
    assert height % mh == 0
    assert source[0] <= width <= source[0] * scale + mw
    assert source[1] <= height <= source[1] * scale + mh
