"""What the filter of bearer tokens would do with a sample request. The token is verified and forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dataplane.filters.context import auth_of
from dataplane.filters.jwt import verifier_of
from dataplane.tokens.claims import BadClaimError
from dataplane.tokens.verifier import NoKeysError
from shared.jws import BadTokenError
from shared.pb.explain_pb2 import FilterVerdict

if TYPE_CHECKING:
    from dataplane.explaining.filters import Sample


def verdict(sample: Sample) -> FilterVerdict:
    """Whose token the sample has; what it found out is in the sample for the filters after it."""
    auth = auth_of(sample.route, sample.context.settings)
    if auth.mode not in {"required", "optional"}:
        return FilterVerdict(outcome="passes", detail="no token is looked at; headers that tell claims are dropped")
    scheme, _, token = (sample.header("authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        if auth.mode == "optional":
            return FilterVerdict(outcome="passes", detail="no bearer token; it is optional")
        return FilterVerdict(outcome="refuses", status=401, detail="needs a bearer token in the header Authorization")
    now = sample.node.live.wall()
    try:
        bearer = verifier_of(auth, sample.context).examine(token.strip(" ").encode(), now)
    except NoKeysError as error:
        return FilterVerdict(outcome="refuses", status=503, detail=f"the keys for tokens are not here: {error}")
    except (BadTokenError, BadClaimError) as error:
        return FilterVerdict(outcome="refuses", status=401, detail=f"{error.reason}: {error}")
    if bearer.expires <= now:
        return FilterVerdict(outcome="refuses", status=401, detail="the token has expired")
    sample.consumer, sample.scopes, sample.claims = bearer.name, bearer.scopes, bearer.claims
    until = datetime.fromtimestamp(bearer.expires, UTC).isoformat()
    return FilterVerdict(outcome="passes", detail=f"the token of {bearer.name}, good until {until}")
