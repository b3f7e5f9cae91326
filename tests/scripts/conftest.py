"""What the tests of scripts share: photographs, and a real clip."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="session")
def bunny(pytestconfig: pytest.Config) -> Path:
    """A clip of 40 frames, 256x144."""
    return pytestconfig.rootpath / "tests" / "data" / "bunny.mp4"


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures with fine detail, large enough to be cut from."""
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(2)
    for name in ("a", "b"):
        detail = sum(
            F.interpolate(torch.rand(1, 3, n, n, generator=generator), size=(700, 700), mode="bicubic") * n**-0.5
            for n in (9, 40, 160)
        )
        assert isinstance(detail, Tensor)
        picture = ((detail - detail.min()) / (detail.max() - detail.min()) * 255).byte()[0].permute(1, 2, 0)
        Image.fromarray(picture.numpy()).save(folder / f"{name}.jpg", quality=95)
    return folder
