"""WarpINR: our own variant of VideoINR, which warps and blends instead of running a network per output pixel."""
