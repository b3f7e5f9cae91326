"""A pair of source frames becomes pixels of any time between them, on demand."""
