"""`python -m scripts.benchmark`: what a frame costs, beside the commit before, and beside what users have today."""

import os

#: Before anything has imported the plugin, which tells torch by variables how to work: each version tells its own.
ENVIRONMENT = dict(os.environ)
