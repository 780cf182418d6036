"""`flexgate consumers`."""

from __future__ import annotations

from controlplane.cli.resources import family_of

app = family_of(
    "consumers",
    "List, show, create, change and delete consumers.",
    {
        "NAME": lambda consumer: consumer["name"],
        "GROUPS": lambda consumer: consumer.get("groups"),
        "PRIORITY": lambda consumer: consumer.get("priority"),
    },
)
