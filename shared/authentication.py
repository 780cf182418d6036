"""Which authentication applies to a route: its own, the rest taken from `security.auth`. Pure."""

from __future__ import annotations

from shared.pb.resources_pb2 import Auth

_KEYS_OF_TOKENS = frozenset({"jwks", "jwks_url"})


def effective(own: Auth, shared: Auth) -> Auth:
    """What a route says, field by field, over what `security.auth` says, where both are of one type.

    What it says stands alone: a list or a map is not added to the shared one, and keys of tokens replace where the
    shared ones come from. A type without a mode is `required`: never an open route.
    """
    merged = Auth()
    if not own.type or own.type == shared.type:
        merged.CopyFrom(shared)
    given = {field.name for field, _ in own.ListFields()}
    if given & _KEYS_OF_TOKENS:
        given |= _KEYS_OF_TOKENS
    for name in given:
        merged.ClearField(name)  # type: ignore[arg-type]  # the stub wants a literal
    merged.MergeFrom(own)
    merged.mode = own.mode or ("required" if own.type else "")
    return merged
