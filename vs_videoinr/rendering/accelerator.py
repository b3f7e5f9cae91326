"""The GPUs of this machine: those that `torch.accelerator` knows, of the one kind that PyTorch has been built for."""

from __future__ import annotations

from contextlib import nullcontext

import torch


def devices() -> list[torch.device]:
    """Return the GPUs that PyTorch can use."""
    if not torch.accelerator.is_available():  # to ask which one it is raises then, up to PyTorch 2.6
        return []
    kind = torch.accelerator.current_accelerator()
    return [] if kind is None else [torch.device(kind.type, n) for n in range(torch.accelerator.device_count())]


def describe(device: torch.device) -> str:
    """Return a GPU as the argument device names it, and its maker's name for it where PyTorch knows that."""
    name = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(device) if name is None else f"{device} ({name(device)})"


def empty_cache(device: torch.device) -> None:
    """Give memory of a device that PyTorch keeps and does not need, and what the host has for it, back to everybody."""
    if device.type == "cpu":
        return
    # What cuBLAS works in, 32 MB on recent GPUs, counts as in use; PyTorch has no other name for giving it back.
    clear_workspaces = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if device.type == "cuda" and clear_workspaces is not None:
        clear_workspaces()
    module = torch.get_device_module(device)  # torch.accelerator can do it from PyTorch 2.9 on
    # CUDA would begin to use the first device as well, unless another one is chosen. Apple's is the only one.
    with module.device(device) if hasattr(module, "device") else nullcontext():
        module.empty_cache()
    # Pinned memory of the host that frames went through; not every PyTorch can let go of it.
    empty_host_cache = getattr(torch.accelerator, "empty_host_cache", None)
    if empty_host_cache is not None:
        empty_host_cache()
