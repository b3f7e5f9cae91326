"""What `python -m scripts.evaluate` is made of."""
