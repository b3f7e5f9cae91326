"""What can go wrong with a job, in the words that the user reads."""

from __future__ import annotations


class JobError(RuntimeError):
    """The job cannot be begun, gone on with or finished; the message is one sentence."""


class ChunkError(RuntimeError):
    """One try of a chunk has failed; the message says why, and the chunk may be tried again."""
