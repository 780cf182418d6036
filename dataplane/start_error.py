"""What keeps a worker from starting, in one line fit for a terminal."""


class StartError(Exception):
    """The text says what, where, and what to do; the process exits non-zero with nothing half started."""
