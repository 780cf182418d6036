"""Envoy with the same work: API keys, local rate limits, outlier detection and circuit breakers, a sampled JSON log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.load import KEY, KEY_HEADER

Json = dict[str, Any]
WITHOUT = ("a rate limit by client address: its local one counts all clients together",)
_TYPE = "type.googleapis.com/envoy.extensions"
_FILTERS = f"{_TYPE}.filters.http"
_NEVER = 1_000_000_000
_LOGGED_PERCENT = 10


def command(program: str, directory: Path, port: int, origin: int, routes: int) -> list[str]:
    """As the package has it."""
    directory.mkdir()
    config = {
        "admin": {"address": _address(0)},
        "static_resources": {
            "listeners": [
                {"name": "traffic", "address": _address(port), "filter_chains": [{"filters": [_http(routes)]}]}
            ],
            "clusters": [_cluster(origin)],
        },
    }
    file = directory / "envoy.json"
    file.write_text(json.dumps(config))
    return [program, "-c", str(file), "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"]


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _http(routes: int) -> Json:
    prefixes = [f"/svc-{number}/api/" for number in range(routes - 1)] + ["/bench/"]
    listed = [{"match": {"prefix": prefix}, "route": {"cluster": "origin"}} for prefix in prefixes]
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "traffic",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "access_log": [_log()],
        "http_filters": [
            _keys(),
            _limit(),
            {"name": "router", "typed_config": {"@type": f"{_FILTERS}.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": listed}]},
    }
    return {"name": "http", "typed_config": manager}


def _log() -> Json:
    names = {
        "timestamp": "%START_TIME%",
        "id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "agent": "%REQ(USER-AGENT)%",
        "upstream": "%UPSTREAM_HOST%",
        "time": "%DURATION%",
    }
    share = {"numerator": _LOGGED_PERCENT, "denominator": "HUNDRED"}
    return {
        "name": "file",
        "filter": {"runtime_filter": {"runtime_key": "logged", "percent_sampled": share}},
        "typed_config": {
            "@type": f"{_TYPE}.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": {"json_format": names},
        },
    }


def _keys() -> Json:
    return {
        "name": "keys",
        "typed_config": {
            "@type": f"{_FILTERS}.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": KEY, "client": "bench"}],
            "key_sources": [{"header": KEY_HEADER}],
            "forwarding": {"header": "X-Consumer-Name"},
        },
    }


def _limit() -> Json:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "limit",
        "typed_config": {
            "@type": f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "limit",
            "token_bucket": {"max_tokens": _NEVER, "tokens_per_fill": _NEVER, "fill_interval": "60s"},
            "filter_enabled": always,
            "filter_enforced": always,
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        },
    }


def _cluster(origin: int) -> Json:
    return {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{"max_connections": 256, "max_requests": 100_000}]},
        "outlier_detection": {"consecutive_5xx": 5},
        "load_assignment": {
            "cluster_name": "origin",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(origin)}}]}],
        },
    }
