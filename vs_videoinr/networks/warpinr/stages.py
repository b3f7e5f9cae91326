"""The stages of WarpINR that can be left out, to see what each is worth."""

from __future__ import annotations

import enum


class Stage(enum.StrEnum):
    """A part of the network; all are in place unless a configuration leaves some out."""

    FLOW = "any motion"
    FINE_FLOW = "the look for flow at half size"
    LUCAS_KANADE = "flow made exact by the pictures themselves"
    SMOOTHING = "smoothing of flow where both directions agree"
    EXPOSURE = "matching of exposure"
    STATIC_COLOUR = "rest where there is nothing to be seen"
    NEIGHBOURS = "the pairs before and after"
    NEIGHBOUR_DETAIL = "detail from other frames"
    DETAIL = "residual detail"
