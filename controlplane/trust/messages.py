"""Rows of the register as the messages that operators see."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from shared.pb.enrolment_pb2 import Invitation, IssuedCertificate
from shared.timestamp import timestamp


def invitation(row: Row[Any], now: int) -> Invitation:
    """A token; `now` in epoch milliseconds."""
    return Invitation(
        id=row.id,
        node=row.node,
        labels=row.labels,
        state="used" if row.used_at is not None else "expired" if row.expires_at <= now else "unused",
        created_at=_time(row.created_at),
        created_by=row.created_by,
        expires_at=_time(row.expires_at),
        used_at=_time(row.used_at),
        used_by=row.used_by,
    )


def certificate(row: Row[Any], now: int) -> IssuedCertificate:
    """A certificate; `now` as above."""
    return IssuedCertificate(
        serial=row.serial,
        node=row.node,
        labels=row.labels,
        state="revoked" if row.revoked_at is not None else "expired" if row.not_after <= now else "good",
        issued_at=_time(row.issued_at),
        not_after=_time(row.not_after),
        enrolment=row.enrolment,
        revoked_at=_time(row.revoked_at),
        revoked_by=row.revoked_by,
        reason=row.reason,
    )


def _time(milliseconds: int | None) -> str:
    return timestamp(milliseconds / 1000) if milliseconds is not None else ""
