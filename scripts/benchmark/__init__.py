"""`python -m scripts.benchmark`: what a frame costs, beside the commit before, and beside what users have today."""
