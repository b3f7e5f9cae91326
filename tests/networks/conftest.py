"""What tests of kernels share."""

from __future__ import annotations

import pytest

from vs_videoinr.networks import kernels


@pytest.fixture(params=kernels.available(), ids=lambda kernel: kernel.variant)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> kernels.Kernels:
    """Every variant of the kernels in turn."""
    monkeypatch.setattr(kernels, "best", lambda: request.param)
    made: kernels.Kernels = request.param
    return made
