"""`python -m tests.integration.upgrades` writes the rows of the newest version; once a version is out, they stand."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from controlplane.store.migrate import versions
from tests.integration.upgrades import dumped, file_of
from tests.integration.upgrades.writing import written


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as directory:
        file, version = Path(directory, "flexgate.db"), versions()[-1]
        secrets = asyncio.run(written(file))
        file_of(version).write_text(dumped(file, version, secrets))
    print(f"wrote {file_of(version)}")


if __name__ == "__main__":
    main()
