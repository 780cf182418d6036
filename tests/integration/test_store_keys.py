"""Keys of consumers: made, rotated with a grace period, and never kept as what they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from controlplane.changes import Put
from controlplane.keys import Keys, NotRotatable
from controlplane.refusal import AlreadyExists, NotFound
from shared.faults import ConfigError
from shared.pb.resources_pb2 import Consumer, Credential
from shared.table import unpack
from tests.support.configuration import ALICE, Plane, plane

START = datetime(2030, 1, 1, tzinfo=UTC)


class Time:
    """Epoch seconds that a test turns."""

    def __init__(self) -> None:
        self.seconds = START.timestamp()

    def __call__(self) -> float:
        return self.seconds


async def credential(parts: Plane, name: str) -> Any:
    return unpack(await parts.resource("credential", name))


async def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path: Path) -> None:
    """The secret is in the answer, its hash in the configuration, and neither in the audit log."""
    async with plane(f"sqlite:///{tmp_path}/flexgate.db") as parts:
        keys = Keys(parts.service, Time())
        with pytest.raises(ConfigError, match="there is no consumer named 'c'"):
            await keys.create(Credential(consumer="c"), ALICE)
        await parts.commit(Put("consumer", "c", Consumer()))
        made = await keys.create(Credential(consumer="c", scopes=["read"]), ALICE)
        again = await keys.create(Credential(consumer="c"), ALICE)
        assert made.outcome.asked == (("credential", "c"),)
        assert again.outcome.asked == (("credential", "c-2"),)
        kept = await credential(parts, "c")
        assert made.secret.startswith("fgk_")
        assert kept.key == sha256(made.secret.encode()).hexdigest()
        assert (kept.type, list(kept.scopes)) == ("apiKey", ["read"])
        assert made.secret not in repr(made)
        lines = b"".join([line async for line in parts.audit.lines()])
        assert made.secret.encode() not in lines
        assert kept.key.encode() not in lines
        assert b"key 'c' created" in lines
        with pytest.raises(AlreadyExists):
            await keys.create(Credential(name="c", consumer="c"), ALICE)


async def test_a_rotated_key_works_on_for_a_while(tmp_path: Path) -> None:
    """The old key stays, under a name of its own and with an end; what is over is cleared by the next rotation."""
    async with plane(f"sqlite:///{tmp_path}/flexgate.db") as parts:
        time = Time()
        keys = Keys(parts.service, time)
        await parts.commit(Put("consumer", "c", Consumer()))
        first = await keys.create(Credential(name="k", consumer="c", scopes=["s"]), ALICE)
        second = await keys.rotate("k", ALICE, grace=3600)
        old, new = await credential(parts, "k~1"), await credential(parts, "k")
        assert old.key == sha256(first.secret.encode()).hexdigest()
        assert new.key == sha256(second.secret.encode()).hexdigest()
        assert datetime.fromisoformat(old.expires_at) == START + timedelta(hours=1)
        assert (new.expires_at, list(old.scopes), list(new.scopes), new.id) == ("", ["s"], ["s"], 1)
        time.seconds += 60
        await keys.rotate("k", ALICE, grace=3600)
        assert (await credential(parts, "k~2")).key == new.key
        time.seconds += 3600
        await keys.rotate("k", ALICE)
        names = {name for kind, name in (await parts.newest()).table if kind == "credential"}
        assert names == {"k"}


async def test_an_expiry_is_not_put_off_by_a_rotation(tmp_path: Path) -> None:
    """A key that would end within the grace period ends when it would have."""
    async with plane(f"sqlite:///{tmp_path}/flexgate.db") as parts:
        keys = Keys(parts.service, Time())
        await parts.commit(Put("consumer", "c", Consumer()))
        await keys.create(Credential(name="k", consumer="c", expires_at="2030-01-01T00:10:00Z"), ALICE)
        await keys.rotate("k", ALICE, grace=3600)
        assert (await credential(parts, "k~1")).expires_at == "2030-01-01T00:10:00Z"


async def test_what_is_no_api_key_is_not_rotated(tmp_path: Path) -> None:
    """A credential of another type, and one that is not there, are refused."""
    async with plane(f"sqlite:///{tmp_path}/flexgate.db") as parts:
        keys = Keys(parts.service, Time())
        secret = Put("credential", "h", Credential(consumer="c", type="hmac", key="id", secret="s"))
        await parts.commit(Put("consumer", "c", Consumer()), secret)
        with pytest.raises(NotRotatable):
            await keys.rotate("h", ALICE)
        with pytest.raises(NotFound):
            await keys.rotate("none", ALICE)
