"""What keeps a worker from starting, in one line fit for a terminal."""

import os


class StartError(Exception):
    """The text says what, where, and what to do; the process exits non-zero with nothing half started."""


def reason_of(error: OSError) -> str:
    """Why an address cannot be had, without the address that the libraries put behind it."""
    return os.strerror(error.errno) if error.errno else str(error)
