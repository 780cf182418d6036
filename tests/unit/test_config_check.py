"""The checks: what is refused, at which path, and what an operator is told to do."""

from __future__ import annotations

import pytest

from shared.check.values import plain
from shared.document import read
from shared.faults import ConfigError

HASH = "ab" * 32
UPSTREAMS = "upstreams: [{name: a, url: 'http://a'}, {name: b, url: 'http://b'}]\n"
AUTH = "security: {auth: {type: apiKey}}\n"
KEY = "{kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}"
SECRET = "{kty: oct, k: c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA}"


def told(text: str) -> list[str]:
    """The faults of a text as "path: message"; [] where it has none."""
    try:
        read(text)
    except ConfigError as error:
        return [f"{fault.path}: {fault.message}" for fault in error.faults]
    return []


def one(text: str, path: str, part: str) -> None:
    """The text has exactly one fault, at this path, whose message has this part."""
    found = told(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"{path}: "), found
    assert part in found[0], found


@pytest.mark.parametrize(
    ("field", "path", "part"),
    [
        ("path: x", "path", 'starts with "/"'),
        ("path: /a//b", "path", "empty segment"),
        ("path: /a/../b", "path", "dot segments"),
        ("path: /a/..;x/b", "path", "dot segments"),
        ("path: /a/*/b", "path", "as the whole last segment"),
        ("path: /a*", "path", "as the whole last segment"),
        ("path: '/a/:'", "path", "no parameter; write one such as :id"),
        ("path: '/a/:1x'", "path", "no parameter"),
        ("path: '/:a/:a'", "path", "stands twice"),
        ("path: '/a?b=c'", "path", "no query"),
        ("path: '/a#b'", "path", "no fragment"),
        ("path: '/café'", "path", "write caf%C3%A9"),
        ("path: '/a b'", "path", "write a%20b"),
        ("path: '/a/{id}'", "path", "as in /users/:id"),
        ("path: '/a/<int:id>'", "path", "as in /users/:id"),
        ("path: '/a/[0-9]+'", "path", "no regular expressions"),
        ("path: '/a/\\d+'", "path", "no regular expressions"),
        ("path: '/a%2Fb'", "path", "encoded slash"),
        ("path: '/a%7eb'", "path", "compared as ~"),
        ("path: '/a%c3'", "path", "write %C3"),
        ("path: '/a%zz'", "path", "two hex digits"),
        ("path: '/" + "a" * 2100 + "'", "path", "at most 2048 characters"),
        ("{}", "path", "is required"),
        ("{path: /a, hosts: ['a:80']}", "hosts[0]", "without a port"),
        ("{path: /a, hosts: ['a.*.b']}", "hosts[0]", "a wildcard stands only at the left"),
        ("{path: /a, hosts: ['*']}", "hosts[0]", "leave the list out"),
        ("{path: /a, hosts: ['http://a']}", "hosts[0]", "without scheme"),
        ("{path: /a, hosts: ['-a.b']}", "hosts[0]", "no host name"),
        ("{path: /a, hosts: ['1.2.3.999']}", "hosts[0]", "no IPv4 address"),
        ("{path: /a, hosts: ['*.1.2.3.4']}", "hosts[0]", "nothing lies below an IP address"),
        ("{path: /a, methods: [TRACE]}", "methods[0]", "never proxied"),
        ("{path: /a, methods: [" + "A" * 33 + "]}", "methods[0]", "at most 32"),
        ("{path: /a, methods: ['G T']}", "methods[0]", "no method"),
        ("{path: /a, headers: {'a b': c}}", 'headers["a b"]', "no header name"),
        ("{path: /a, headers: {A: {exact: b, prefix: c}}}", "headers.A", "exactly one of"),
        ("{path: /a, query: {v: {}}}", "query.v", "exactly one of"),
        ("{path: /a, headers: {X-A: b, x-a: b}}", "headers.x-a", "a header name that"),
        ("{path: '/a/:id', rewrite: '/b/:no'}", "rewrite", "has no :no; it has :id"),
        ("{path: /a, rewrite: '/b/*'}", "rewrite", 'path\'s "*" matched'),
        ("{path: /a, rewrite: {host: 'b:0'}}", "rewrite.host", "no port"),
        ("{path: /a, rewrite: {}}", "rewrite", "nothing to rewrite"),
        ("{path: /a/*, rewrite: /b, stripPath: true}", "stripPath", "remove stripPath"),
        ("{path: /a, requestHeaders: {set: {Content-Length: '5'}}}", "requestHeaders.set.Content-Length", "cannot be"),
        ("{path: /a, responseHeaders: {add: {Connection: x}}}", "responseHeaders.add.Connection", "cannot be edited"),
        ("{path: /a, requestHeaders: {remove: [Host]}}", "requestHeaders.remove[0]", "use rewrite.host"),
        ('{path: /a, requestHeaders: {set: {X-A: "b\\r\\nX: c"}}}', "requestHeaders.set.X-A", "no line breaks"),
        ("{path: /a, requestHeaders: {set: {X-A: b, x-a: c}}}", "requestHeaders.set.x-a", "a header name that"),
        ("{path: /a, rateLimit: {max: 5}}", "rateLimit.windowMs", "is required"),
        ("{path: /a, rateLimit: {max: 5, windowMs: 1, key: cookie}}", "rateLimit.key", "not one of "),
        ("{path: /a, rateLimit: {max: 5, windowMs: 1, key: headr:X}}", "rateLimit.key", "did you mean header:NAME?"),
        ("{path: /a, timeout: {connect: 5}}", "timeout.connect", "set it in timeout of the upstream"),
        ("{path: /a, timeout: {header: 5}}", "timeout.header", "set it in timeout of the proxy"),
        ("{path: /a, auth: maybe}", "auth", "not one of required, optional, none"),
        ("{path: /a, auth: required}", "auth", "nothing says how clients authenticate"),
        ("{path: /a, auth: {}}", "auth", "neither mode nor type"),
        ("{path: /a, auth: {mode: none, header: X}}", "auth.header", "counts only beside a type"),
        ("{path: /a, auth: {type: apiKey, issuer: x}}", "auth.issuer", "no meaning for type apiKey"),
        ("{path: /a, auth: {type: jwt}}", "auth", "exactly one of jwksUrl and jwks"),
        (f"{{path: /a, auth: {{type: jwt, jwksUrl: 'https://x', jwks: {{keys: [{KEY}]}}}}}}", "auth", "exactly one of"),
        ("{path: /a, auth: {type: jwt, jwksUrl: 'https://u:p@x/k'}}", "auth.jwksUrl", "remove the user"),
        ("{path: /a, auth: {type: jwt, jwksUrl: 'http://169.254.169.254'}}", "auth.jwksUrl", "security.blockedIPs"),
        ("{path: /a, auth: {type: jwt, jwksUrl: 'https://x', algorithms: [HS256]}}", "auth.algorithms[0]", "a secret"),
        ("{path: /a, auth: {type: jwt, jwksUrl: 'https://x', algorithms: [none]}}", "auth.algorithms[0]", "not one of"),
        ("{path: /a, auth: {type: jwt, jwks: {kty: RSA}}}", "auth.jwks", "is no set of keys"),
        ("{path: /a, auth: {type: jwt, jwks: {keys: [5]}}}", "auth.jwks", "is no set of keys"),
        ("{path: /a, auth: {type: jwt, jwks: {keys: [{kty: RSA}]}}}", "auth.jwks.keys[0]", "cannot be read"),
        (
            "{path: /a, auth: {type: jwt, jwks: {keys: [{kty: oct}]}, algorithms: [HS256]}}",
            "auth.jwks.keys[0]",
            "no 'k'",
        ),
        ("{path: /a, auth: {type: jwt, jwks: {keys: [{kty: DSA}]}}}", "auth.jwks.keys[0]", "no algorithm is for"),
        (
            "{path: /a, auth: {type: jwt, algorithms: [HS256], jwks: {keys: [{kty: oct, k: c2hvcnQ}]}}}",
            "auth.jwks.keys[0]",
            "below the minimum",
        ),
        (f"{{path: /a, auth: {{type: jwt, jwks: {{keys: [{SECRET}]}}}}}}", "auth.algorithms", "say which of HS256"),
        (
            "{path: /a, auth: {type: jwt, algorithms: [RS256], jwks: {keys: [{kty: RSA, n: AQAB, e: AQAB, d: AQAB}]}}}",
            "auth.jwks.keys[0]",
            "the private part of a key (d)",
        ),
        (
            "{path: /a, auth: {type: jwt, jwksUrl: 'https://x', forwardClaims: {a: X-A, b: x-a}}}",
            "auth.forwardClaims.b",
            "a header for a claim that",
        ),
        (
            "{path: /a, auth: {type: jwt, jwksUrl: 'https://x', forwardClaims: {a: Authorization}}}",
            "auth.forwardClaims.a",
            "has a meaning here",
        ),
        ("{path: /a, scopes: [x]}", "scopes", "set `auth: required`"),
        ('{path: /a, deprecated: "a\\nb"}', "deprecated", "not a header value"),
        ("{path: /a, name: ' a'}", "name", "no name"),
        ("{path: /a, name: '" + "n" * 300 + "'}", "name", "at most 256 characters"),
        ("{path: /a, mirror: {percent: 5}}", "mirror.upstream", "is required"),
    ],
)
def test_routes(field: str, path: str, part: str) -> None:
    """Faults within one route."""
    body = f"{{{field}}}" if not field.startswith("{") else field
    body = body[:-1] + (", " if body != "{}" else "") + "upstream: a}"
    one(f"{UPSTREAMS}routes: [{body}]\n", f"routes[0].{path}", part)


@pytest.mark.parametrize(
    ("rest", "part"),
    [
        ("", "is required: the name of an upstream, or a URL"),
        (", upstream: aa", "there is no upstream named 'aa'; did you mean a?"),
        (", split: [{upstream: a, weight: 1}, {upstream: c, weight: 1}]", "there is no upstream named 'c'"),
        (", upstream: a, split: [{upstream: b, weight: 1}]", "exclude each other"),
        (", split: [{upstream: a}]", "no part has a weight above 0"),
        (", split: [{upstream: a, weight: 1}, {upstream: a, weight: 2}]", "an upstream that"),
    ],
)
def test_a_route_leads_somewhere(rest: str, part: str) -> None:
    """Exactly one of upstream and split, and what they name exists."""
    found = told(f"{UPSTREAMS}routes: [{{path: /a{rest}}}]\n")
    assert len(found) == 1
    assert part in found[0]


@pytest.mark.parametrize(
    ("fields", "path", "part"),
    [
        ("name: c", "url", "is required: http://host:port"),
        ("url: 'http://c'", "name", "is required"),
        ("{name: c, url: 'http://c', endpoints: ['http://d']}", "endpoints", "exclude each other"),
        ("{name: c, endpoints: ['http://d', 'http://D:80/']}", "endpoints[1]", "an address that"),
        ("{name: c, endpoints: [{url: 'http://d', weight: 0}]}", "endpoints", "no endpoint has a weight"),
        ("{name: c, endpoints: [{url: 'http://d', weight: 5000}]}", "endpoints[0].weight", "from 0 to 1000"),
        ("{name: c, url: 'ws://c'}", "url", "no http or https URL"),
        ("{name: c, url: 'http://u:p@c'}", "url", "no user, query or fragment"),
        ("{name: c, url: 'http://c?x'}", "url", "no user, query or fragment"),
        ("{name: c, url: 'http://c:99999'}", "url", "is no URL"),
        ("{name: c, url: 'http://c:0'}", "url", "port 0"),
        ("{name: c, url: 'http://'}", "url", "no http or https URL"),
        ("{name: c, url: 'http://a b'}", "url", "no host name"),
        ("{name: c, url: 'http://c/a/../b'}", "url", "the base path must be plain"),
        ("{name: c, url: 'http://169.254.169.254'}", "url", "in 169.254.0.0/16 of security.blockedIPs"),
        ("{name: c, url: 'http://[::ffff:169.254.169.254]'}", "url", "security.blockedIPs"),
        ("{name: c, url: 'http://c', fallback: x}", "fallback", "there is no upstream named 'x'"),
        ("{name: c, url: 'http://c', fallback: c}", "fallback", "goes in a circle: c -> c"),
        ("{name: c, url: 'http://c', limits: {maxQueueSize: 5}}", "limits.maxConnections", "is required"),
        ("{name: c, url: 'http://c', limits: {maxConnections: 5, queueTimeout: 0}}", "limits.queueTimeout", "1"),
        ("{name: c, url: 'http://c', retries: 99}", "retries", "from 0 to 10"),
        ("{name: c, url: 'http://c', retries: 1, retry: {maxAttempts: 2}}", "retries", "keep one"),
        ("{name: c, url: 'http://c', tls: {cert: x.pem}}", "tls.key", "belong together"),
        ("{name: c, url: 'http://c', loadBalancer: fastest}", "loadBalancer", "not one of round-robin, "),
        ("{name: c, url: 'http://c', loadBalancer: {on: ip}}", "loadBalancer.on", "only for policy consistent-hash"),
        ("{name: c, url: 'http://c', loadBalancer: consistent-hash}", "loadBalancer.on", "is required"),
        ("{name: c, url: 'http://c', healthCheck: health}", "healthCheck", 'one such as "/health"'),
        ("{name: c, url: 'http://c', healthCheck: '/a b'}", "healthCheck", 'one such as "/health"'),
        ("{name: c, url: 'http://c', healthCheck: {interval: 50}}", "healthCheck.interval", "from 100"),
        ("{name: c, url: 'http://c', healthCheck: {timeout: 11s}}", "healthCheck.timeout", "longer than the interval"),
        ("{name: c, url: 'http://c', healthCheck: {interval: 1s, timeout: 2s}}", "healthCheck.timeout", "1000 ms"),
        (
            "{name: c, url: 'http://c', healthCheck: {expectedStatus: [100]}}",
            "healthCheck.expectedStatus[0]",
            "from 200",
        ),
        ("{name: c, url: 'http://c', healthCheck: {healthyThreshold: 0}}", "healthCheck.healthyThreshold", "from 1"),
        ("{name: c, url: 'http://c', dns: {refresh: 1}}", "dns.refresh", "from 100"),
        ("{name: c, url: 'http://c', timeout: {header: 5}}", "timeout.header", "of the proxy"),
        ("{name: c, url: 'http://c', timeout: {idle: 0}}", "timeout.idle", "from 1 to"),
        ("{name: c, url: 'http://c', connectionPool: {maxSockets: 0}}", "connectionPool.maxSockets", "from 1 to"),
        ("{name: c, url: 'http://c', circuitBreaker: {threshold: 120%}}", "circuitBreaker.threshold", "from 1 to 100"),
        (
            "{name: c, url: 'http://c', circuitBreaker: {threshold: 5, failurePercent: 5}}",
            "circuitBreaker.failurePercent",
            "exclude each other",
        ),
    ],
)
def test_upstreams(fields: str, path: str, part: str) -> None:
    """Faults within one upstream."""
    body = f"{{{fields}}}" if not fields.startswith("{") else fields
    one(f"upstreams: [{body}]\n", f"upstreams[0].{path}", part)


def test_fallbacks_do_not_go_in_circles() -> None:
    """A ring of three is told once, with the way around; a chain that leads into it is not told again."""
    ring = ", ".join(f"{{name: {name}, url: 'http://{name}', fallback: {to}}}" for name, to in ("wx", "xy", "yz", "zx"))
    one(f"upstreams: [{ring}]\n", "upstreams[1].fallback", "x -> y -> z -> x")


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("proxy: {port: 65536}", "proxy.port", "from 0 to 65535"),
        ("proxy: {port: 3001}", "proxy.adminPort", "3001 is the port of the traffic too"),
        ("proxy: {host: 'a b'}", "proxy.host", "no host name"),
        ("proxy: {maxHeaderSize: 64kb}", "proxy.maxHeaderSize", "all of them together only 32768"),
        ("proxy: {maxConnections: 0}", "proxy.maxConnections", "from 1 to"),
        ("proxy: {maxResponseSize: 0}", "proxy.maxResponseSize", "at least 1"),
        ("proxy: {trustedProxies: [10.0.0.0/33]}", "proxy.trustedProxies[0]", "neither an IP address nor a block"),
        ("proxy: {tls: {cert: a.pem}}", "proxy.tls.key", "is required"),
        ("proxy: {tls: {cert: a, key: b, minVersion: 1.1}}", "proxy.tls.minVersion", "not one of 1.2, 1.3"),
        ("timeouts: {idle: 0}", "timeouts.idle", "from 1 to"),
        ("security: {blockedIPs: [10.0.0.1/8]}", "security.blockedIPs[0]", "write 10.0.0.0/8"),
        ("security: {ipFilter: {allow: [me]}}", "security.ipFilter.allow[0]", "neither an IP address"),
        ("security: {allowedHosts: ['a.*']}", "security.allowedHosts[0]", "a wildcard stands only at the left"),
        ("security: {auth: {header: X}}", "security.auth.type", "is required"),
        ("security: {auth: {type: oauth}}", "security.auth.type", "not one of "),
        ("security: {auth: {type: apiKey, mode: required}}", "security.auth.mode", "on the routes"),
        ("security: {auth: {type: apiKey, header: 'a b'}}", "security.auth.header", "no header name"),
        ("security: {auth: {type: apiKey, query: 'a=b'}}", "security.auth.query", "no parameter name"),
        ("security: {auth: {type: apiKey, keys: [{key: secret, name: a}]}}", "security.auth.keys[0].key", "sha256sum"),
        (f"security: {{auth: {{type: apiKey, keys: [{{key: {HASH}}}]}}}}", "security.auth.keys[0].name", "is required"),
        (
            f"security: {{auth: {{type: apiKey, keys: [{{key: {HASH}, name: a, expiresAt: 2030-01-01}}]}}}}",
            "security.auth.keys[0].expiresAt",
            "with its time zone",
        ),
        (
            f"security: {{auth: {{type: apiKey, keys: [{{key: {HASH}, name: a}}, {{key: {HASH.upper()}, name: b}}]}}}}",
            "security.auth.keys[1].key",
            "security.auth.keys[0].key has too",
        ),
        ("security: {auth: {type: introspection}}", "security.auth.introspectionUrl", "is required"),
        ("rateLimit: {global: {windowMs: 5}}", "rateLimit.global.max", "is required"),
        ("rateLimit: {perRoute: [{max: 1, windowMs: 1}]}", "rateLimit.perRoute[0].path", "is required"),
        ("rateLimit: {algorithm: leaky}", "rateLimit.algorithm", "not one of "),
        ("rateLimit: {backend: redis}", "rateLimit.redis.url", "redis://host:6379"),
        ("rateLimit: {redis: 'http://x'}", "rateLimit.redis", "no Redis URL"),
        ("rateLimit: {redis: 'redis://x:99999'}", "rateLimit.redis", "its port is no number"),
        ("rateLimit: {redis: 'redis://:se/cret@x'}", "rateLimit.redis", "its port is no number"),
        ("rateLimit: {redis: 'redis://x/cache'}", "rateLimit.redis", "its database is no number"),
        ("rateLimit: {redis: 'unix://run/redis.sock'}", "rateLimit.redis", "unix:///run/redis.sock"),
        ("rateLimit: {redis: 'unix:///run/redis?db=-1'}", "rateLimit.redis", "its database is no number"),
        ("logging: {level: warning}", "logging.level", "did you mean warn?"),
        ("logging: {sampling: {successRate: 10}}", "logging.sampling.successRate", "from 0 to 1"),
        ("tracing: true", "tracing.otlp.endpoint", "is required"),
        ("retry: {backoff: {initialDelay: 5s, maxDelay: 1s}}", "retry.backoff.maxDelay", "shorter than initialDelay"),
        ("priorities: [{name: high, routes: [nope]}]", "priorities[0].routes[0]", "there is no route named"),
        ("backpressure: {thresholds: [{action: reject_all}]}", "backpressure.thresholds[0].queueSize", "is required"),
        ("backpressure: {thresholds: [{queueSize: 5}]}", "backpressure.thresholds[0].action", "is required"),
        (
            "backpressure: {thresholds: [{queueSize: 5, action: reject_all}, {queueSize: 5, action: reject_all}]}",
            "backpressure.thresholds[1]",
            "backpressure.thresholds[0] has too",
        ),
        ("backpressure: {maxConcurrent: 0}", "backpressure.maxConcurrent", "1"),
        ("consumers: [{name: a, priority: high}]", "consumers[0].priority", "there is no priority named"),
        ("consumers: [{name: a}, {name: a}]", "consumers[1].name", "consumers[0].name has too"),
    ],
)
def test_settings_and_consumers(text: str, path: str, part: str) -> None:
    """Faults within the settings and consumers."""
    one(text + "\n", path, part)


@pytest.mark.parametrize(
    ("fields", "path", "part"),
    [
        (f"consumer: bobby, type: apiKey, key: {HASH}", "consumer", "did you mean bob?"),
        (f"type: apiKey, key: {HASH}", "consumer", "is required"),
        (f"consumer: bob, key: {HASH}", "type", "is required"),
        ("consumer: bob, type: apiKey, key: s3cret", "key", "64 hex digits"),
        ("consumer: bob, type: hmac, key: id", "secret", "hmac verifies with it"),
        (f"consumer: bob, type: apiKey, key: {HASH}, secret: x", "secret", "has no secret"),
        (f"consumer: bob, type: apiKey, key: {HASH}, expiresAt: tomorrow", "expiresAt", "is no time"),
    ],
)
def test_credentials(fields: str, path: str, part: str) -> None:
    """Credentials belong to a consumer and hold what their type needs."""
    one(f"consumers: [{{name: bob}}]\ncredentials: [{{name: c, {fields}}}]\n", f"credentials[0].{path}", part)


def test_a_plain_key_is_not_repeated() -> None:
    """A key that was written by mistake does not spread into logs through the message about it."""
    assert "hunter2" not in str(told("security: {auth: {type: apiKey, keys: [{key: hunter2, name: a}]}}\n"))


@pytest.mark.parametrize(
    "url", ["u:hunter2@h", "u:hunter2/x@h", "u:12/hunter2@h", "u:hunter2@h:99999", "u:hunter2@[", "u:hunter2 @h"]
)
@pytest.mark.parametrize("scheme", ["http", "ftp", "redis"])
def test_a_password_in_a_url_is_not_repeated(scheme: str, url: str) -> None:
    """Wherever a URL may stand: endpoints, routes, the Redis of limits, the collector of traces."""
    places = (
        "upstreams: [{name: a, url: '%s'}]",
        UPSTREAMS + "routes: [{path: /, upstream: '%s'}]",
        "rateLimit: {backend: redis, redis: '%s'}",
        "tracing: {otlp: '%s'}",
    )
    for place in places:
        assert "hunter2" not in str(told(place % f"{scheme}://{url}"))


def test_names_and_ids_are_unique_within_their_kind() -> None:
    """Two routes may not share a name or an id; a route and an upstream may."""
    routes = "routes: [{name: a, id: 1, path: /a, upstream: a}, {name: a, id: 1, path: /b, upstream: a}]\n"
    assert [fault.split(": ")[0] for fault in told(UPSTREAMS + routes)] == ["routes[1].name", "routes[1].id"]


@pytest.mark.parametrize(
    "first_and_second",
    [
        ("path: '/u/:id'", "path: '/u/:name'"),
        ("path: /a, methods: [GET, POST]", "path: /a, methods: [POST]"),
        ("path: /a, hosts: [x.com, y.com]", "path: /a, hosts: [Y.com]"),
        ("path: /a, hosts: ['*.x.com']", "path: /a, hosts: ['*.x.com', z.com]"),
        ("path: /a, headers: {X-A: b}, query: {v: c}", "path: /a, query: {v: c}, headers: {x-a: b}"),
        ("path: /a/*, priority: 3", "path: /a/*, priority: 3"),
    ],
)
def test_equal_matches_conflict(first_and_second: tuple[str, str]) -> None:
    """Two enabled routes of one rank that match the same requests are told once, with both names and the way out."""
    first, second = first_and_second
    text = f"{UPSTREAMS}routes: [{{name: one, {first}, upstream: a}}, {{name: two, {second}, upstream: b}}]\n"
    one(text, "routes[1]", "'two' matches the same requests as routes[0] 'one'")
    assert "priority" in told(text)[0]


@pytest.mark.parametrize(
    "first_and_second",
    [
        ("path: /x", "path: /x/*"),
        ("path: /x", "path: /x/"),
        ("path: '/x/:id'", "path: /x/y"),
        ("path: /a, methods: [GET]", "path: /a, methods: [POST]"),
        ("path: /a, methods: [GET]", "path: /a"),
        ("path: /a, hosts: [x.com]", "path: /a"),
        ("path: /a, hosts: [x.com]", "path: /a, hosts: ['*.com']"),
        ("path: /a, hosts: ['*.a.com']", "path: /a, hosts: ['*.com']"),
        ("path: /a, headers: {X-A: b}", "path: /a, headers: {X-A: c}"),
        ("path: /a, headers: {X-A: b}", "path: /a"),
        ("path: /a, priority: 1", "path: /a"),
        ("path: /a", "path: /a, enabled: false"),
    ],
)
def test_different_ranks_do_not_conflict(first_and_second: tuple[str, str]) -> None:
    """Where the more specific one wins, or one is disabled, both may stand."""
    first, second = first_and_second
    assert told(f"{UPSTREAMS}routes: [{{{first}, upstream: a}}, {{{second}, upstream: b}}]\n") == []


@pytest.mark.parametrize(
    "text",
    [
        UPSTREAMS + "routes: [{path: '/t/:tenant/*', upstream: a, rewrite: '/v2/:tenant/*'}]\n",
        UPSTREAMS + "routes: [{path: '/a%20b/', upstream: a, timeout: {request: 0}}]\n",
        UPSTREAMS + AUTH + "routes: [{path: /a, upstream: a, auth: required, scopes: [read]}]\n",
        UPSTREAMS + f"routes: [{{path: /a, upstream: a, auth: {{type: apiKey, keys: [{{key: {HASH}, name: x}}]}}}}]\n",
        "upstreams: [{name: c, endpoints: ['https://h_1:8443/base', {url: 'http://[fd00::1]:80', weight: 0}]}]\n",
        "proxy: {host: '::', trustedProxies: [10.0.0.0/8, '::1'], port: 0, adminPort: 0}\n",
        "security: {allowedHosts: [10.0.0.1, 'fd00::1', '*.a.b']}\n",
        "rateLimit: {key: 'header:X-Tenant', global: {enabled: false}}\n",
    ],
)
def test_what_is_fine(text: str) -> None:
    """Forms that the rules must not refuse."""
    assert told(text) == []


GROUPS = "nodeGroups: [{name: red, labels: {zone: a}}, {name: blue, labels: {zone: b}}]\n"


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("nodeGroups: [{name: red}]", "nodeGroups[0].labels", "the labels that its nodes have"),
        ("nodeGroups: [{labels: {a: b}}]", "nodeGroups[0].name", "unique among node groups"),
        (GROUPS.replace("blue", "red"), "nodeGroups[1].name", "nodeGroups[0].name has too"),
        (GROUPS + "consumers: [{name: c, nodeGroups: [rde]}]", "consumers[0].nodeGroups[0]", "did you mean"),
        ("consumers: [{name: c, nodeGroups: [red]}]", "consumers[0].nodeGroups[0]", "the document has no node group"),
        (GROUPS + "consumers: [{name: c, nodeGroups: [red, red]}]", "consumers[0].nodeGroups[1]", "has too"),
        (
            GROUPS + "upstreams: [{name: u, url: 'http://u', nodeGroups: [red]}]\nroutes: [{path: /, upstream: u}]",
            "routes[0].upstream",
            "every node has this, but 'u' is only for some",
        ),
        (
            GROUPS + "upstreams: [{name: u, url: 'http://u', nodeGroups: [red]}]\n"
            "routes: [{path: /, upstream: u, nodeGroups: [red, blue]}]",
            "routes[0].upstream",
            "'u' is not for the nodes of blue",
        ),
        (
            GROUPS
            + "upstreams: [{name: u, url: 'http://u', fallback: v}, {name: v, url: 'http://v', nodeGroups: red}]",
            "upstreams[0].fallback",
            "every node has this",
        ),
    ],
)
def test_node_groups(text: str, path: str, part: str) -> None:
    """Groups have labels, are named where they exist, and no route leads where its nodes may not go."""
    one(text, path, part)


@pytest.mark.parametrize(
    ("text", "path", "part"),
    [
        ("proxy: {maxConnections: 0}", "proxy.maxConnections", "from 1 to 4294967295"),
        ("proxy: {maxHeaderSize: 1}", "proxy.maxHeaderSize", "from 256 to 1048576 bytes"),
        ("retry: {backoff: {multiplier: 0.5}}", "retry.backoff.multiplier", "0.5 is out of range: from 1 to 100"),
        ("upstreams: [{name: a, url: 'http://a', limits: {maxConnections: 0}}]", "upstreams[0].limits", "from 1 to"),
        ("upstreams: [{name: a, url: 'http://a', limits: {maxQueueSize: 1}}]", "upstreams[0].limits", "is required"),
    ],
)
def test_numbers_are_told_as_people_write_them(text: str, path: str, part: str) -> None:
    """Whole, and each wrong one once."""
    [found] = told(text)
    assert found.startswith(path)
    assert part in found


@pytest.mark.parametrize(
    ("number", "shown"),
    [(4294967295.0, "4294967295"), (0.5, "0.5"), (float("inf"), "inf"), (float("nan"), "nan"), (1e300, "1e+300")],
)
def test_numbers_as_people_write_them(number: float, shown: str) -> None:
    """Whole ones without a point or an exponent; what is no number, and what nobody could read, as it is."""
    assert plain(number) == shown
