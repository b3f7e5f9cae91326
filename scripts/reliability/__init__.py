"""`python -m scripts.reliability STAGE`: hosts, seeks and sanitizers for longer than a test suite should take."""
