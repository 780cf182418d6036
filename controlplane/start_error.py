"""Why a control plane cannot start."""

from __future__ import annotations


class StartError(Exception):
    """The text is one line for whoever started it: what, where, and what to do."""
