"""Shorthands: each stands for one canonical form, and what cannot be meant is refused."""

from __future__ import annotations

from typing import Any

import pytest

from shared.normalise import normalise


def canonical(document: object) -> dict[str, Any]:
    """The canonical form of a document without faults."""
    result = normalise(document)
    assert result.faults == []
    return result.data


def route(**fields: object) -> dict[str, Any]:
    """The canonical form of one route."""
    [only] = canonical({"routes": [fields]})["routes"]
    assert isinstance(only, dict)
    return only


def upstream(**fields: object) -> dict[str, Any]:
    """The canonical form of one upstream."""
    [only] = canonical({"upstreams": [fields]})["upstreams"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"timeout": 5000}, {"timeout": {"request": 5000}}),
        ({"timeout": "5s"}, {"timeout": {"request": 5000}}),
        ({"timeout": {"response": "1m"}}, {"timeout": {"response": 60_000}}),
        ({"rewrite": "/v2/*"}, {"rewrite": {"path": "/v2/*"}}),
        ({"auth": "optional"}, {"auth": {"mode": "optional"}}),
        ({"headers": {"X-A": "b"}}, {"headers": {"X-A": {"exact": "b"}}}),
        ({"query": {"v": {"prefix": "2"}}}, {"query": {"v": {"prefix": "2"}}}),
        ({"rateLimit": {"requests": 5, "window": "60s"}}, {"rateLimit": {"max": 5, "windowMs": 60_000}}),
        ({"rateLimit": False}, {"rateLimit": {"enabled": False}}),
        ({"methods": "get"}, {"methods": ["GET"]}),
        ({"methods": ["get", "Post"]}, {"methods": ["GET", "POST"]}),
        ({"methods": ["*"]}, {"methods": []}),
        ({"hosts": "API.Example.com"}, {"hosts": ["api.example.com"]}),
        ({"maxBodySize": "1gb"}, {"maxBodySize": 1 << 30}),
        ({"deprecated": True}, {"deprecated": "deprecated"}),
        ({"deprecated": False}, {"deprecated": ""}),
        ({"deprecated": "use /v2"}, {"deprecated": "use /v2"}),
        ({"id": 7}, {"id": 7}),
        ({"id": "users"}, {"name": "users"}),
        ({"mirror": {"upstream": "b", "percent": "5%"}}, {"mirror": {"upstream": "b", "percent": 5.0}}),
    ],
)
def test_routes(written: dict[str, object], meant: dict[str, object]) -> None:
    """The shorthands of routes."""
    assert route(**written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"endpoints": ["http://a"]}, {"endpoints": [{"url": "http://a"}]}),
        ({"endpoints": [{"url": "http://b", "weight": 2}]}, None),
        ({"loadBalancer": "random"}, {"loadBalancer": {"policy": "random"}}),
        ({"loadBalancer": {"policy": "consistent-hash", "on": "ip"}}, None),
        ({"healthCheck": "/health"}, {"healthCheck": {"path": "/health"}}),
        ({"healthCheck": True}, {"healthCheck": {"enabled": True}}),
        ({"healthCheck": False}, {"healthCheck": {"enabled": False}}),
        ({"retries": 3}, {"retries": 3}),
        ({"retries": {"maxAttempts": 3}}, {"retry": {"maxAttempts": 3}}),
        ({"circuitBreaker": {"timeout": "30s"}}, {"circuitBreaker": {"openDuration": 30_000}}),
        ({"circuitBreaker": {"threshold": 5}}, {"circuitBreaker": {"failureThreshold": 5}}),
        ({"circuitBreaker": {"failureThreshold": "50%"}}, {"circuitBreaker": {"failurePercent": 50.0}}),
        ({"dns": "30s"}, {"dns": {"refresh": 30_000}}),
    ],
)
def test_upstreams(written: dict[str, object], meant: dict[str, object] | None) -> None:
    """The shorthands of upstreams; None: that is the canonical form already."""
    assert upstream(**written) == (meant or written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"timeouts": {"connect": "1s"}}, {"proxy": {"timeout": {"connect": 1000}}}),
        ({"timeouts": 100}, {"proxy": {"timeout": {"request": 100}}}),
        ({"proxy": {"port": 1}, "timeouts": 100}, {"proxy": {"port": 1, "timeout": {"request": 100}}}),
        ({"proxy": {"workers": "auto"}}, {"proxy": {"workers": 0}}),
        ({"proxy": {"tls": {"minVersion": 1.3}}}, {"proxy": {"tls": {"minVersion": "1.3"}}}),
        ({"security": {"auth": {"clockSkew": "5m"}}}, {"security": {"auth": {"clockSkew": 300}}}),
        ({"rateLimit": {"redis": "redis://x"}}, {"rateLimit": {"redis": {"url": "redis://x"}}}),
        ({"tracing": {"otlp": "http://x"}}, {"tracing": {"otlp": {"endpoint": "http://x"}}}),
        ({"metrics": False}, {"metrics": {"enabled": False}}),
    ],
)
def test_settings(written: dict[str, object], meant: dict[str, object]) -> None:
    """The shorthands of the settings."""
    assert canonical(written) == {"settings": meant}


def test_a_url_as_upstream_makes_a_resource() -> None:
    """The upstream is named after the URL, once for all routes that mean the same endpoint."""
    data = canonical(
        {
            "routes": [
                {"path": "/a", "upstream": "https://API.example.com:443/"},
                {"path": "/b", "targetUrl": "https://api.example.com"},
                {"path": "/c", "upstream": "http://api.example.com:8080/v1"},
            ]
        }
    )
    assert [route["upstream"] for route in data["routes"]] == [
        "https-api.example.com",
        "https-api.example.com",
        "http-api.example.com-8080-v1",
    ]
    assert [made["url"] for made in data["upstreams"]] == [
        "https://API.example.com:443/",
        "http://api.example.com:8080/v1",
    ]


def test_a_url_as_upstream_reuses_a_resource() -> None:
    """An upstream of that URL is taken, whatever its name; a name that means something else is not overwritten."""
    data = canonical(
        {
            "upstreams": [{"name": "users", "url": "http://u:80"}, {"name": "http-v", "url": "http://elsewhere"}],
            "routes": [{"path": "/a", "upstream": "http://u"}, {"path": "/b", "upstream": "http://v"}],
        }
    )
    first, second = (route["upstream"] for route in data["routes"])
    assert first == "users"
    assert second.startswith("http-v-")
    assert [made["name"] for made in data["upstreams"]] == ["users", "http-v", second]


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        ({"proxy": {"timeout": 1}, "timeouts": 2}, "timeouts", "keep one"),
        ({"routes": [{"upstream": "a", "targetUrl": "http://b"}]}, "routes[0].targetUrl", "two names of one thing"),
        ({"routes": [{"rateLimit": {"max": 1, "requests": 2}}]}, "routes[0].rateLimit.requests", "two names"),
        ({"proxy": {"port": "abc"}}, "proxy.port", "expected a whole number, got 'abc'"),
        ({"proxy": {"port": 1.5}}, "proxy.port", "expected a whole number"),
        ({"proxy": {"port": 2**40}}, "proxy.port", "outside of what fits"),
        ({"proxy": {"port": 10**400}}, "proxy.port", "outside of what fits"),
        ({"tracing": {"sampleRatio": 10**400}}, "tracing.sampleRatio", "too large"),
        ({"routes": [{"fault": {"percent": 10**400}}]}, "routes[0].fault.percent", "expected a percentage"),
        ({"proxy": {"port": True}}, "proxy.port", "expected a whole number, got true"),
        ({"proxy": {"systemEndpoints": "yes"}}, "proxy.systemEndpoints", "expected true or false, got 'yes'"),
        ({"proxy": {"host": 1}}, "proxy.host", 'write it in quotes: "1"'),
        ({"proxy": None}, "proxy", "has no value"),
        ({"proxy": []}, "proxy", "expected an object with keys such as host"),
        ({"routes": {}}, "routes", "expected a list"),
        ({"routes": ["/a"]}, "routes[0]", "expected an object with keys such as id, name, path"),
        ({"routes": [{"metadata": {"a": 1}}]}, "routes[0].metadata.a", "expected text, got 1"),
        ({"routes": [{"metadata": []}]}, "routes[0].metadata", "expected an object"),
        ({"routes": [{"headers": {"A": 1}}]}, "routes[0].headers.A", "expected text in quotes, or an object"),
        ({"routes": [{"bodySchema": {"a": float("inf")}}]}, "routes[0].bodySchema", "cannot"),
        ({"routes": [{"path": "\ud800"}]}, "routes[0].path", "surrogate"),
        ({"routes": [{"strip_path": True}]}, "routes[0].strip_path", "did you mean stripPath?"),
        ({"rate-limit": {}}, "rate-limit", "did you mean rateLimit?"),
        ({"upstream": []}, "upstream", "did you mean upstreams?"),
        ({"xyzzy": 1}, "xyzzy", "known here: backpressure, "),
        ({"settings": 5}, "settings", "expected an object"),
    ],
)
def test_what_cannot_be_meant(document: object, path: str, part: str) -> None:
    """One fault, at the place that was written, that says what was expected."""
    [fault] = normalise(document).faults
    assert fault.path == path
    assert part in fault.message
