"""Strategies for configurations: documents that are fine, in every way to write them, and messages of any content."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from shared.pb.resources_pb2 import Config

Json = dict[str, Any]
HASH = st.binary(min_size=32, max_size=32).map(bytes.hex)
WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=6)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    [
        "1e5",
        "0o7",
        "true",
        "~",
        "",
        "<<",
        "on",
        "a: b",
        "- a",
        "#a",
        " a",
        "'",
        '"',
        "\n",
        "é",
        "2030-01-01",
        "*a",
        "&a",
    ]
)
DURATION = st.integers(1, 10**6) | st.builds("{}{}".format, st.integers(1, 50), st.sampled_from(["ms", "s", "m", "h"]))
SIZE = st.integers(1, 10**9) | st.builds("{}{}".format, st.integers(1, 500), st.sampled_from(["b", "kb", "mb", "gb"]))
SEGMENT = st.text("abcXYZ019-._~", min_size=1, max_size=4).filter(lambda s: s not in (".", ".."))
HOST = st.lists(WORD, min_size=1, max_size=3).map(".".join)
METHODS = st.lists(st.sampled_from(["GET", "post", "Put", "DELETE", "PURGE"]), min_size=1, max_size=3, unique=True)
HEADER_VALUE = st.text("abc019 -_;=", max_size=8).map(str.strip)
LIMIT = st.fixed_dictionaries(
    {"max": st.integers(1, 10**6), "windowMs": DURATION},
    optional={
        "burst": st.integers(1, 100),
        "key": st.sampled_from(["ip", "apiKey", "consumer", "route", "header:X-Tenant", "claim:sub"]),
        "shadow": st.booleans(),
        "message": TEXT,
    },
)
CONDITION = TEXT | st.fixed_dictionaries({"prefix": TEXT}) | st.fixed_dictionaries({"present": st.booleans()})
METADATA = st.dictionaries(TEXT, TEXT, max_size=3)


@st.composite
def path_patterns(draw: st.DrawFn) -> str:
    """Good path patterns: exact, with parameters, prefixes, with or without a slash at the end."""
    segments = draw(st.lists(SEGMENT, max_size=3))
    names = draw(st.lists(WORD, max_size=2, unique=True))
    segments += [f":{name}" for name in names]
    return "/" + "/".join([*segments, *draw(st.sampled_from([[], [""], ["*"]]))]).removeprefix("/")


@st.composite
def routes(draw: st.DrawFn, index: int, upstreams: list[str], authenticated: bool) -> Json:
    """One good route whose path begins with a segment of its own, so that routes do not conflict."""
    route: Json = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "hosts": st.lists(HOST, max_size=2, unique=True),
                "methods": METHODS | st.just("*"),
                "headers": st.dictionaries(st.sampled_from(["X-A", "X-B"]), CONDITION, max_size=2),
                "query": st.dictionaries(TEXT, CONDITION, max_size=2),
                "priority": st.integers(-5, 5),
                "enabled": st.booleans(),
                "rateLimit": LIMIT | st.booleans().map(lambda on: {"enabled": on, "max": 1, "windowMs": 1}),
                "timeout": DURATION | st.fixed_dictionaries({}, optional={"request": DURATION, "response": DURATION}),
                "stripPath": st.booleans(),
                "requestHeaders": st.fixed_dictionaries(
                    {}, optional={"set": st.dictionaries(st.just("X-A"), HEADER_VALUE), "remove": st.just(["X-B"])}
                ),
                "maxBodySize": SIZE,
                "deprecated": st.booleans() | HEADER_VALUE,
                "metadata": METADATA,
                "bodySchema": st.dictionaries(TEXT, st.integers(-5, 5) | TEXT | st.none() | st.lists(st.booleans())),
                "cors": st.fixed_dictionaries({}, optional={"origins": st.lists(TEXT, max_size=2), "maxAge": DURATION}),
                "cache": st.booleans(),
            },
        )
    )
    route["path"] = f"/r{index}{draw(path_patterns())}"
    route["upstream"] = draw(st.sampled_from(upstreams) | st.builds("http://{}:8080".format, WORD))
    if authenticated:
        route["auth"] = draw(st.sampled_from(["required", "optional", "none"]))
    return route


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """A document without faults, as plain data, with shorthands and defaults mixed in."""
    names = draw(st.lists(WORD, min_size=1, max_size=3, unique=True))
    upstreams = [
        draw(
            st.fixed_dictionaries(
                {"name": st.just(name), "url": st.just(f"http://{name}:{9000 + index}")},
                optional={
                    "timeout": DURATION,
                    "retries": st.integers(0, 3),
                    "circuitBreaker": st.booleans() | st.just({"threshold": "50%", "timeout": "30s"}),
                    "healthCheck": st.booleans() | st.just("/health"),
                    "loadBalancer": st.sampled_from(["random", {"policy": "consistent-hash", "on": "ip"}]),
                    "tls": st.fixed_dictionaries({}, optional={"verify": st.booleans(), "ca": TEXT}),
                    "metadata": METADATA,
                },
            )
        )
        for index, name in enumerate(names)
    ]
    keys = draw(st.lists(HASH, max_size=2, unique=True))
    document: Json = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "version": TEXT,
                "proxy": st.fixed_dictionaries(
                    {},
                    optional={
                        "port": st.integers(4000, 5000),
                        "workers": st.just("auto") | st.integers(1, 8),
                        "timeout": DURATION,
                        "maxBodySize": SIZE,
                        "systemEndpoints": st.booleans(),
                        "trustedProxies": st.lists(st.sampled_from(["10.0.0.0/8", "::1"]), max_size=2),
                    },
                ),
                "rateLimit": st.fixed_dictionaries({}, optional={"global": LIMIT, "enabled": st.booleans()}),
                "logging": st.fixed_dictionaries({}, optional={"redact": st.lists(TEXT, max_size=2)}),
                "connectionPool": st.fixed_dictionaries({}, optional={"timeout": DURATION, "keepAlive": st.booleans()}),
            },
        )
    )
    if keys:
        document["security"] = {"auth": {"type": "apiKey", "keys": [{"key": key, "name": key[:4]} for key in keys]}}
    count = draw(st.integers(0, 3))
    document["upstreams"] = upstreams
    document["routes"] = [draw(routes(index, names, bool(keys))) for index in range(count)]
    return document


SOME_TEXT = TEXT | st.sampled_from(
    ["/a", "/a/:b/*", "a", "http://a", "https://[::1]:1/b", "http://a:x", "required", "apiKey", "10.0.0.0/8", "*.a.b"]
)


def messages(message: type[Message], depth: int = 5) -> st.SearchStrategy[Any]:
    """Messages of a type with anything in any field that protobuf takes."""
    fields = {
        field.name: _field(field, depth)
        for field in cast(Descriptor, message.DESCRIPTOR).fields
        if depth or field.message_type is None
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: message(**values))


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    inner = field.message_type
    if inner is None:
        one = _scalar(field)
    elif inner.full_name == "google.protobuf.Struct":
        return st.dictionaries(TEXT, TEXT, max_size=1)
    elif inner.GetOptions().map_entry:
        value = inner.fields_by_name["value"]
        return st.dictionaries(SOME_TEXT, _one(value, depth), max_size=2)
    else:
        one = _one(field, depth)
    return st.lists(one, max_size=2) if field.is_repeated else one


def _one(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return _scalar(field)
    inner = GetMessageClass(field.message_type)
    return st.deferred(lambda: messages(inner, depth - 1))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    small = st.sampled_from([0, 1, 2, 100])
    return {
        FieldDescriptor.CPPTYPE_STRING: SOME_TEXT,
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_UINT32: small | st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_INT32: small | st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: small | st.integers(-(2**63), 2**63 - 1),
    }[field.cpp_type]


CONFIGS: st.SearchStrategy[Config] = messages(Config)
