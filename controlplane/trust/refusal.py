"""What a node is told when it is not let in."""

from __future__ import annotations


class Refusal(Exception):
    """Why a node, a token or a signing request is refused. Whoever runs the node reads it: no secrets."""
