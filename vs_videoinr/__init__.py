"""VideoINR for VapourSynth: video at any size and any frame rate.

Scripts need nothing from here: the plugin loads by itself as `core.videoinr`. Python programs without VapourSynth use
`load` and `from_state_dict`. Importing this package imports neither torch nor vapoursynth.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Tensors come and go with every layer, and on Linux much of a CPU's time can go into getting their memory page by page.
# In huge pages it takes far less; torch has to be told so before its first tensor.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Between its operations torch's threads look for more work for milliseconds, on cores that our kernels' threads want
# (networks/native/rows.c). A moment is enough. Each implementation of OpenMP has its own word for it, and reads it when
# torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # GNU's, which torch has on Linux: times
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # Intel's and LLVM's, on Windows and macOS: milliseconds

if TYPE_CHECKING:
    from vs_videoinr.errors import ModelError
    from vs_videoinr.networks.base import Network, VideoField
    from vs_videoinr.weights.library import from_state_dict, load

    __version__: str

__all__ = ["ModelError", "Network", "VideoField", "__version__", "from_state_dict", "load"]

#: Where the names come from, all of which but the first need torch.
_MODULES = {
    "ModelError": "vs_videoinr.errors",
    "Network": "vs_videoinr.networks.base",
    "VideoField": "vs_videoinr.networks.base",
    "from_state_dict": "vs_videoinr.weights.library",
    "load": "vs_videoinr.weights.library",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("vapoursynth-videoinr")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
