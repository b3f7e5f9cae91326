"""Training on a borrowed GPU: `python -m scripts.gpu.pack` here, `bash scripts/gpu/train.sh` there."""
