"""A fault as people and programs read it: `FILE:LINE: path: message`, or fields for a log line and for JSON."""

from __future__ import annotations

from shared.faults import Fault


def line_of(file: str, fault: Fault) -> str:
    """One line that editors and CI systems can follow to its place; parts that are not known are left out."""
    if fault.code == "unreadable":
        return fault.message  # it names the file
    where = f"{file}:{fault.line}" if fault.line else file
    return ": ".join(part for part in (where, fault.path, fault.message) if part)


def fields_of(fault: Fault) -> dict[str, object]:
    """{line, path, code, message}."""
    return {"line": fault.line, "path": fault.path, "code": fault.code, "message": fault.message}
