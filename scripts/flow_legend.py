"""Draw docs/flow_legend.png, the colour wheel of core.videoinr.Flow: the place in it is the motion."""

import torch
from PIL import Image

from scripts import ROOT
from vs_videoinr.rendering.flow_colours import FlowColours

SIDE = 160


def main() -> None:
    """Write the picture."""
    line = torch.arange(SIDE) - (SIDE - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    wheel = FlowColours(SIDE / 2)(torch.stack((x, y)))
    wheel = torch.where(torch.hypot(x, y) < SIDE / 2, wheel, 1.0)
    picture = (wheel * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(ROOT / "docs" / "flow_legend.png", optimize=True)


if __name__ == "__main__":
    main()
