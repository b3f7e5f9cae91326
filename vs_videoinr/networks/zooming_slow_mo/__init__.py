"""The forerunner of VideoINR: the same encoder under a decoder of one size and three times."""
