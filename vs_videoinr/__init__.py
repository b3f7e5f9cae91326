"""VideoINR for VapourSynth: video at any size and any frame rate.

Scripts need nothing from here: the plugin loads by itself as `core.videoinr`. Python programs without VapourSynth use
`VideoINR`. Importing this package imports neither torch nor vapoursynth.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Tensors come and go with every layer, and on Linux much of a CPU's time can go into getting their memory page by page.
# In huge pages it takes far less; torch has to be told so before its first tensor.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from vs_videoinr.errors import ModelError
    from vs_videoinr.model.videoinr import VideoINR

    __version__: str

__all__ = ["ModelError", "VideoINR", "__version__"]


def __getattr__(name: str) -> object:
    if name == "VideoINR":
        from vs_videoinr.model.videoinr import VideoINR

        return VideoINR
    if name == "ModelError":
        from vs_videoinr.errors import ModelError

        return ModelError
    if name == "__version__":
        from importlib.metadata import version

        return version("vapoursynth-videoinr")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
