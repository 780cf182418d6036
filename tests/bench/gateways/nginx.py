"""nginx with the same work: `map` for the keys, `limit_req`, `$request_id`, a sampled JSON log, passive health."""

from __future__ import annotations

from pathlib import Path

from tests.bench import nginx
from tests.bench.load import KEY

WITHOUT = ("metrics by route",)
_HTTP = """\
  map $http_x_api_key $client {{ default ""; "{key}" bench; }}
  limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
  limit_req_status 429;
  split_clients $request_id $logged {{ 10% 1; * 0; }}
  log_format json escape=json '{{"timestamp":"$time_iso8601","id":"$request_id","method":"$request_method",'
    '"path":"$uri","status":$status,"client":"$remote_addr","agent":"$http_user_agent","consumer":"$client",'
    '"upstream":"$upstream_addr","upstreamTime":"$upstream_response_time","time":"$request_time"}}';
  upstream origin {{
    server 127.0.0.1:{origin} max_fails=5 fail_timeout=30s;
    keepalive 128;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header X-Request-ID $request_id;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Consumer-Name $client;
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  server {{
    listen 127.0.0.1:{port};
    access_log requests.log json if=$logged;
    add_header X-Request-ID $request_id always;
    limit_req zone=clients burst=100000 nodelay;
    if ($client = "") {{ return 401; }}
{locations}
  }}"""
_LOCATION = "    location {path} {{ proxy_pass http://origin; }}"


def command(program: str, directory: Path, port: int, origin: int, routes: int) -> list[str]:
    """As the package has it."""
    paths = [f"/svc-{number}/api/" for number in range(routes - 1)] + ["/bench/"]
    locations = "\n".join(_LOCATION.format(path=path) for path in paths)
    http = _HTTP.format(key=KEY, origin=origin, port=port, locations=locations)
    return [program, *nginx.command(directory, nginx.framed(http))[1:]]
