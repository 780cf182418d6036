"""Writes over REST for a while, one writer and sixteen, on SQLite and on PostgreSQL, with 10 000 routes stored."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.bench.control_plane import ControlPlane, control_plane, document
from tests.bench.outcome import Figure, Outcome, Row
from tests.bench.postgres import postgres
from tests.bench.stage import Stage

ROUTES = 10_000
WRITERS = (1, 16)


def run(stage: Stage) -> Outcome:
    """Each database in its turn; every write is a transaction with revision and audit row, synced to disk."""
    rows = [measured(stage, "SQLite", stage.directory / "sqlite", "")]
    with postgres(stage.directory) as url:
        if url:
            rows.append(measured(stage, "PostgreSQL", stage.directory / "postgresql", url))
    figures = [
        Figure(f"{row.subject}, {column}", value, "writes/s") for row in rows for column, value in row.cells.items()
    ]
    return Outcome(rows, figures, [] if len(rows) > 1 else ["no PostgreSQL here: apt-get install postgresql"])


def measured(stage: Stage, name: str, directory: Path, database: str) -> Row:
    """Writes per second on one database."""
    directory.mkdir()
    cells = {}
    with control_plane(directory, stage.cores, database) as plane:
        plane.ask("POST", "/api/config/apply", document(ROUTES))
        for writers in WRITERS:
            count, seconds = written(plane, writers, stage.options.seconds * (1 if stage.options.quick else 2))
            cells[f"{writers} writer{'s' if writers > 1 else ''}"] = count / seconds
    return Row(name, cells)


def written(plane: ControlPlane, writers: int, seconds: float) -> tuple[int, float]:
    """(writes, seconds) of so many writers, each with a connection and routes of its own."""
    counts = [0] * writers
    failures: list[Exception] = []

    def write(writer: int) -> None:
        connection = plane.connection()
        try:
            while time.monotonic() < end:
                route = (writer * 500 + counts[writer]) % ROUTES
                body = {"timeout": 1000 + writers * 10_000 + counts[writer]}
                plane.ask("PATCH", f"/api/routes/r{route}", body, connection=connection)
                counts[writer] += 1
        except Exception as error:  # told by the thread that waits
            failures.append(error)
        finally:
            connection.close()

    started = time.monotonic()
    end = started + seconds
    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts), time.monotonic() - started
