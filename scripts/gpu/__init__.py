"""On a borrowed GPU: `python -m scripts.gpu.pack` here, then there `bash scripts/gpu/train.sh` or `measure.sh`."""
