"""Variables that Kubernetes puts into every pod for the Services of its namespace, and that read like settings.

A Service named `flexgate` gives FLEXGATE_PORT=tcp://10.0.0.7:3000, one named `flexgate-cp` FLEXGATE_CP_PORT, and so on
("service links", on by default). Nobody who sets a port means that, so these are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LINK = re.compile(r"(tcp|udp|sctp)://.+:\d+")


def without_service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the variables of a port that hold such a URL."""
    return {name: value for name, value in environ.items() if not (name.endswith("_PORT") and _LINK.fullmatch(value))}
