"""The networks' kernels in C, by ctypes: where the library is, whether it can do a piece of work, and what it is given.

Whoever calls a kernel does the same work by PyTorch where there is no library (a checkout that was not installed, a
compiler that has no vectors), where tensors are on another device or not float32, and where gradients are wanted.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_int64, c_void_p
from functools import cache
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Parameter

#: What of native/kernels.h this module speaks.
VERSION = 4

#: Pixels around a packed frame that repeat its border.
BORDER = 5

#: Of a table of Lanczos's weights.
LANCZOS_STEPS = 256

#: Rows of planes that kernels work in are as many numbers long as the next multiple of this.
ROW_MULTIPLE = 16

#: The farthest that means for `refine_lucas_kanade` reach, in pixels.
MAX_MEAN_RADIUS = 30

#: The farthest places that features are compared with, in pixels.
MAX_CORRELATION_RADIUS = 16

#: Of a `LucasKanade`; the first two are its flow.
LUCAS_KANADE_PLANES = 15

#: Channels of what is known of a neighbour, see warpinr/clues.py: its maps, and the terms of the phase.
CLUES, PHASE_TERMS = 11, 8

_MAX_THREADS = 64

_NAME = "libvideoinr_kernels" + {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


class WarpBlend(Structure):
    """See native/kernels.h."""

    _fields_ = (
        ("frames", c_void_p * 2),
        *((name, c_void_p) for name in ("flow", "output", "scratch", "lanczos")),
        ("scratch_floats", c_int64),
        *((name, c_int32) for name in ("height", "width", "flow_height", "flow_width")),
        ("t", c_float),
    )


class Strides(Structure):
    """See native/kernels.h."""

    _fields_ = tuple((name, c_int64) for name in ("channel", "row", "column"))


class PackFrame(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("picture", "packed")),
        ("strides", Strides),
        *((name, c_int32) for name in ("height", "width")),
    )


class Layer(Structure):
    """See native/kernels.h."""

    _fields_ = (("weights", c_void_p), ("bias", c_void_p), ("inputs", c_int32), ("outputs", c_int32))


class Siren(Structure):
    """See native/kernels.h."""

    _fields_ = (("layers", POINTER(Layer)), ("count", c_int32), ("inputs", c_int32))


class Decode(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, Siren) for name in ("spatial", "temporal", "colour")),
        *((name, Layer) for name in ("temporal_continuous", "colour_continuous")),
        *((name, c_void_p) for name in ("spatial_table", "y_term", "x_term", "temporal_table", "temporal_bias")),
        *((name, c_void_p) for name in ("colour_table", "colour_bias", "y_position", "x_position")),
        *((name, c_void_p) for name in ("y_start", "x_start", "y_cell", "x_cell")),
        *((name, c_void_p) for name in ("continuous", "flow", "rgb", "scratch")),
        *((name, c_int64) for name in ("scratch_floats", "first_pixel", "last_pixel")),
        *((name, c_int32) for name in ("rows", "columns", "cell_rows", "cell_columns", "continuous_features")),
        *((name, c_int32) for name in ("width", "between_width", "border")),
        *((name, c_float) for name in ("y_unit", "x_unit")),
    )


class Warp(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("image", "flow", "output")),
        *((name, Strides) for name in ("image_strides", "output_strides")),
        *((name, c_int32) for name in ("height", "width", "image_height", "image_width", "channels", "top")),
    )


class FlowsAt(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("flow01", "flow10")),
        ("accelerations", c_void_p * 2),
        *((name, c_void_p) for name in ("reach", "maps", "flows")),
        *((name, c_int32) for name in ("height", "width", "iterations")),
        ("t", c_float),
    )


class Clues(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("frame", "other", "flow_to", "flow_from", "clues", "terms", "pixel")),
        *((name, Strides) for name in ("of_frame", "of_other")),
        ("of_flow_to", c_int64),
        *((name, c_int32) for name in ("height", "width", "top", "rows")),
        *((name, c_float) for name in ("gain", "limit")),
    )


class LucasKanade(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("a", "b", "planes", "scratch")),
        ("scratch_floats", c_int64),
        *((name, c_int32) for name in ("height", "width", "stride", "radius")),
        ("damping", c_float),
    )


class Smooth(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("flow", "other", "between", "result", "scratch")),
        ("scratch_floats", c_int64),
        *((name, c_int32) for name in ("height", "width", "stride")),
        *((name, c_float) for name in ("both_ways", "near_by")),
    )


class Correlate(Structure):
    """See native/kernels.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("a", "b", "sums", "means", "correlation", "found", "scratch")),
        ("scratch_floats", c_int64),
        *((name, c_int32) for name in ("height", "width", "stride", "channels", "radius")),
        ("sharpness", c_float),
    )


Job = LucasKanade | Smooth | Correlate

#: What jobs are worked on by, and in which steps.
_JOBS: dict[type[Job], tuple[str, ...]] = {
    LucasKanade: ("lucas_kanade", "lucas_kanade_start", "lucas_kanade_solve", "lucas_kanade_accept"),
    Smooth: ("smooth", "smooth_directions", "smooth_places"),
    Correlate: ("correlate", "correlate_means", "correlate"),
}


class Kernels:
    """The functions of the library, for the instructions that this processor has."""

    def __init__(self, library: ctypes.CDLL, variant: str) -> None:
        self.variant = variant
        self._warp_and_blend = library[f"warp_and_blend_{variant}"]
        self._pack_frame = library[f"pack_frame_{variant}"]
        self._warp_and_blend.argtypes = POINTER(WarpBlend), ctypes.c_int, ctypes.c_int, ctypes.c_int
        self._pack_frame.argtypes = POINTER(PackFrame), ctypes.c_int
        self._warp = library[f"warp_{variant}"]
        self._warp.argtypes, self._warp.restype = (POINTER(Warp), ctypes.c_int), None
        self._flows_at = library[f"flows_at_{variant}"]
        self._flows_at.argtypes, self._flows_at.restype = (POINTER(FlowsAt), ctypes.c_int), None
        self._clues = library[f"clues_{variant}"]
        self._clues.argtypes, self._clues.restype = (POINTER(Clues), ctypes.c_int), None
        self._decode_flow, self._decode_colours = (library[f"decode_{what}_{variant}"] for what in ("flow", "colours"))
        self._decode_flow.argtypes = self._decode_colours.argtypes = POINTER(Decode), ctypes.c_int
        for function in (self._warp_and_blend, self._pack_frame, self._decode_flow, self._decode_colours):
            function.restype = None
        self._steps, self._scratch_floats = {}, {}
        for job, (name, *steps) in _JOBS.items():
            self._scratch_floats[job] = library[f"{name}_scratch_{variant}"]
            self._scratch_floats[job].argtypes, self._scratch_floats[job].restype = (POINTER(job),), c_int64
            for step in steps:
                self._steps[step] = library[f"{step}_{variant}"]
                self._steps[step].argtypes, self._steps[step].restype = (POINTER(job), ctypes.c_int), None
        #: Numbers in a vector of the processor, and pixels that go through a decoder's layers together.
        self.lanes: int = library[f"lanes_{variant}"]()
        self.tile: int = library[f"tile_{variant}"]()

    def warp_and_blend(self, job: WarpBlend, first: int, last: int, threads: int) -> None:
        """Make rows from `first` to before `last`; `job` has scratch for so many threads."""
        self._warp_and_blend(byref(job), first, last, threads)

    def packed(self, picture: Tensor) -> Tensor:
        """Return a picture (B, 3, H, W) laid out for sampling: (B, H + 2·BORDER, W + 2·BORDER, 4)."""
        batch, _, height, width = picture.shape
        packed = picture.new_empty(batch, height + 2 * BORDER, width + 2 * BORDER, 4)
        for item in range(batch):
            job = PackFrame(_at(picture, item), _at(packed, item), Strides(*picture.stride()[1:]), height, width)
            self._pack_frame(byref(job), thread_count())
        return packed

    def warp(self, image: Tensor, flow: Tensor, top: int) -> Tensor:
        """Return what sampling.py's `warp` does, bilinear, of an `image` (B, C, H, W) that may be laid out in any way.

        Where channels of a pixel are side by side, so they are in what is returned.
        """
        batch, channels, image_height, image_width = image.shape
        height, width = flow.shape[-2:]
        output = torch.empty(
            batch,
            channels,
            height,
            width,
            memory_format=torch.channels_last if channels > 1 and image.stride(1) == 1 else torch.contiguous_format,
            device="cpu",
        )
        flow = flow.contiguous()
        strides = Strides(*image.stride()[1:]), Strides(*output.stride()[1:])
        sizes = height, width, image_height, image_width, channels, top
        for item in range(batch):
            job = Warp(_at(image, item), _at(flow, item), _at(output, item), *strides, *sizes)
            self._warp(byref(job), thread_count())
        return output

    def flows_at(
        self, flow01: Tensor, flow10: Tensor, acceleration: Tensor | None, reach: Tensor, t: float, iterations: int
    ) -> Tensor:
        """Return what warpinr/fusion.py's `flows_at` does, x and y of a pixel side by side."""
        batch, _, height, width = flow01.shape
        flow01, flow10, reach = flow01.contiguous(), flow10.contiguous(), reach.contiguous()
        bends = None if acceleration is None else acceleration.contiguous()
        maps = flow01.new_empty(4 if bends is not None else 2, height + 1, width + 1, 2)
        flows = flow01.new_empty(batch, height, width, 4)
        job = FlowsAt(maps=maps.data_ptr(), height=height, width=width, iterations=iterations, t=t)
        for item in range(batch):
            job.flow01, job.flow10, job.reach = _at(flow01, item), _at(flow10, item), _at(reach, item)
            if bends is not None:
                job.accelerations[:] = [_at(bends, item), _at(bends, batch + item)]
            job.flows = _at(flows, item)
            self._flows_at(byref(job), thread_count())
        return flows.permute(0, 3, 1, 2)

    def clues(
        self, frame: Tensor, other: Tensor, flow_to: Tensor, flow_from: Tensor, top: int, gain: float, limit: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what warpinr/clues.py's `find_clues` does, channels of a place side by side but for the pixel's.

        Colours are multiplied by `gain`, and no part of a round trip is longer than `limit`.
        """
        batch, _, rows, width = frame.shape
        flow_from = flow_from.contiguous()
        if flow_to.stride()[2:] != (width, 1):
            flow_to = flow_to.contiguous()
        clues, terms = (frame.new_empty(batch, rows, width, channels) for channels in (CLUES, PHASE_TERMS))
        pixel = torch.empty(batch, 2, rows, width, dtype=torch.int64, device="cpu")
        strides = Strides(*frame.stride()[1:]), Strides(*other.stride()[1:]), flow_to.stride(1)
        for item in range(batch):
            given = (_at(tensor, item) for tensor in (frame, other, flow_to, flow_from, clues, terms, pixel))
            job = Clues(*given, *strides, other.shape[-2], width, top, rows, gain, limit)
            self._clues(byref(job), thread_count())
        return clues.permute(0, 3, 1, 2), terms.permute(0, 3, 1, 2), pixel

    def scratch_for(self, job: Job) -> Tensor:
        """Give a job what its steps work in, and return that for `work`."""
        job.scratch_floats = self._scratch_floats[type(job)](byref(job))
        scratch = torch.empty(thread_count(), job.scratch_floats, device="cpu")
        job.scratch = scratch.data_ptr()
        return scratch

    def work(self, step: str, job: Job, scratch: Tensor) -> None:
        """Do a step of a job in the scratch that `scratch_for` gave it; see native/kernels.h."""
        self._steps[step](byref(job), len(scratch))

    def decode_flow(self, job: Decode, threads: int) -> None:
        """Make the continuous feature and the flow of a job's pixels; `job` has scratch for so many threads."""
        self._decode_flow(byref(job), threads)

    def decode_colours(self, job: Decode, threads: int) -> None:
        """Make the colours of a job's pixels, once the flow is known everywhere."""
        self._decode_colours(byref(job), threads)


def thread_count() -> int:
    """Return how many threads kernels work in: as many as torch's operations in this thread."""
    return min(torch.get_num_threads(), _MAX_THREADS)


def _at(tensor: Tensor, item: int) -> int:
    """Return where an item of a batch begins."""
    return tensor.data_ptr() + item * tensor.stride(0) * tensor.element_size()


def row_stride(width: int) -> int:
    """Return how many numbers a row of `width` takes in planes that kernels work in."""
    return -(-width // ROW_MULTIPLE) * ROW_MULTIPLE


def kernels_for(*tensors: Tensor) -> Kernels | None:
    """Return the kernels if they can work on these tensors, or None: PyTorch is to do it then."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    plain = all(
        type(one) in (Tensor, Parameter) and one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors
    )
    return best() if plain and not wanted else None


@cache
def best() -> Kernels | None:
    """Return the kernels for the instructions that torch uses on this processor, or None if there is no library."""
    return available()[-1] if available() else None


@cache
def available() -> tuple[Kernels, ...]:
    """Return the kernels in all variants that run on this processor, the quickest last."""
    library = _load()
    if library is None:
        return ()
    # Which torch has looked up, and can be told otherwise (ATEN_CPU_CAPABILITY).
    wide = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    names = ["baseline", "avx2"] if wide and hasattr(library, "warp_and_blend_avx2") else ["baseline"]
    return tuple(Kernels(library, name) for name in names)


def _load() -> ctypes.CDLL | None:
    for path in _places():
        try:
            library = ctypes.CDLL(str(path))
            if library.kernels_version() == VERSION:
                return library
        except (OSError, AttributeError):  # not there, or something else
            continue
    return None


def _places() -> list[Path]:
    """Return where the library may be: beside this module or, if that is a checkout's, with what is installed."""
    installed = metadata.distributions(name="vapoursynth-videoinr")
    folders = (Path(str(one.locate_file("vs_videoinr/networks"))) for one in installed)
    return [Path(__file__).parent / _NAME, *(folder / _NAME for folder in folders)]
