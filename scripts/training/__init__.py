"""What `python -m scripts.train` is made of."""
