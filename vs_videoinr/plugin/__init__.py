"""What VapourSynth sees: the functions of `core.videoinr`, from their arguments to frames that are asked for."""
