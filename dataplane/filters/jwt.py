"""Bearer tokens (JWT): who is calling, by what an identity provider signed. The rest is in `tokens/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.json_format import MessageToDict

from dataplane.filters.context import Context, auth_of
from dataplane.runtime import RequestFilter
from dataplane.tokens.key_source import KeySource
from shared import defaults
from shared.pb.resources_pb2 import Auth, Route

if TYPE_CHECKING:
    from dataplane.tokens.verifier import Verifier

NAME = "jwt"


def build(route: Route, context: Context) -> RequestFilter | None:
    auth = auth_of(route, context.settings)
    if auth.type != NAME:
        return None
    reserved = frozenset(header.lower().encode() for header in auth.forward_claims.values())
    # Late: the cryptographic library is 12 MB, for those who use it.
    from dataplane.tokens.bearer import BearerTokens, ClaimHeadersDropped  # noqa: PLC0415

    if auth.mode not in {"required", "optional"}:
        return ClaimHeadersDropped(reserved) if reserved else None
    verifier = verifier_of(auth, context)
    optional = auth.mode == "optional"
    return BearerTokens(
        route.name or route.path, verifier, context.live, reserved, optional=optional, hide=auth.hide_credentials
    )


def key_source_of(route: Route, context: Context) -> KeySource | None:
    """The source of the keys that requests of a route are authenticated with, where it is a URL."""
    auth = auth_of(route, context.settings)
    if auth.type != NAME or auth.mode not in {"required", "optional"} or not auth.jwks_url:
        return None
    return verifier_of(auth, context).source


def verifier_of(auth: Auth, context: Context) -> Verifier:
    """The one verifier of all routes that authenticate in this way."""
    from dataplane.tokens.claims import Rules  # noqa: PLC0415  # as above
    from dataplane.tokens.verifier import Verifier  # noqa: PLC0415  # as above
    from shared.jws import PUBLIC_KEY_ALGORITHMS, KeySet  # noqa: PLC0415  # as above

    way = Auth()
    way.CopyFrom(auth)
    way.ClearField("mode")
    way.ClearField("hide_credentials")
    made_of = way.SerializeToString(deterministic=True)
    verifier: Verifier | None = context.live.verifiers.get(made_of)
    if verifier is None:
        if auth.jwks_url:
            source = context.live.key_source(auth.jwks_url)
        else:
            source = KeySource("", KeySet(MessageToDict(auth.jwks)["keys"]))
        leeway = auth.clock_skew if auth.HasField("clock_skew") else defaults.TOKEN_CLOCK_SKEW_SECONDS
        rules = Rules(auth.issuer, frozenset(auth.audience), dict(auth.required_claims), float(leeway))
        headers = {claim: header.encode() for claim, header in sorted(auth.forward_claims.items())}
        verifier = Verifier(source, frozenset(auth.algorithms) or PUBLIC_KEY_ALGORITHMS.keys(), rules, headers)
        context.live.verifiers[made_of] = verifier
    return verifier
