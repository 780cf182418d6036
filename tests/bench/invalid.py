"""Two ways to end without a figure: a run that measured something else, and a machine that cannot run it."""

from __future__ import annotations


class InvalidRunError(Exception):
    """The run did not measure what it claims to: errors, wrong answers, a process that died. Says which and where."""


class UnfitMachineError(Exception):
    """A tool or a core is missing here; the message says what to install."""
