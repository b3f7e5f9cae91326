"""What scripts/reliability.py runs: hosts, seeks and sanitizers for longer than a test suite should take."""
