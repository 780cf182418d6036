"""What keeps a worker from starting, in one line fit for a terminal."""

import os
import socket


class StartError(Exception):
    """The text says what, where, and what to do; the process exits non-zero with nothing half started."""


def reason_of(error: OSError) -> str:
    """Why an address cannot be had, without the address that the libraries put behind it."""
    if isinstance(error, socket.gaierror):  # its numbers are not those of the system
        return error.strerror or str(error)
    return os.strerror(error.errno) if error.errno else str(error)
