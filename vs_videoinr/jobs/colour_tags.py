"""A clip's colours and pixel shape as ffmpeg is told them: of all that, y4m carries only the format."""

from __future__ import annotations

from collections.abc import Mapping

#: ffmpeg's options and the frame properties that say the same, both in the numbers of ITU-T H.273.
_H273 = {"colorspace": "_Matrix", "color_primaries": "_Primaries", "color_trc": "_Transfer"}
_UNSPECIFIED = 2


def colour_tags(properties: Mapping[str, int]) -> dict[str, int]:
    """Return ffmpeg's options, without their dashes, that say what the properties of a clip's first frame say."""
    tags = {option: properties.get(key, _UNSPECIFIED) for option, key in _H273.items()}
    tags = {option: value for option, value in tags.items() if value >= 0 and value != _UNSPECIFIED}
    if properties.get("_Range") in (0, 1):
        tags["color_range"] = properties["_Range"] + 1  # ffmpeg: 1 is limited, 2 is full
    if 0 <= properties.get("_ChromaLocation", -1) <= 5:
        tags["chroma_sample_location"] = properties["_ChromaLocation"] + 1  # ffmpeg: 1 is left
    return tags


def pixel_shape(properties: Mapping[str, int]) -> tuple[int, int]:
    """Return width and height of a pixel as y4m has them; 0, 0 where a clip does not say."""
    shape = properties.get("_SARNum", 0), properties.get("_SARDen", 0)
    return shape if min(shape) > 0 else (0, 0)
