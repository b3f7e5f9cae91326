"""Where batches for training come from."""
