"""Explain: what this node would do with a sample request, and why. Nothing is sent, counted or taken.

Asked on the admin port (POST /explain) and over the configuration stream: docs/concepts/explain.md.
"""

from dataplane.explaining.answer import explained

__all__ = ["explained"]
