"""The same work by PyTorch, where kernels would do it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from vs_videoinr.networks import kernels


def by_torch(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Tensor]) -> Tensor:
    """What `work` returns without kernels."""
    with monkeypatch.context() as without:
        without.setattr(kernels, "best", lambda: None)
        return work()
