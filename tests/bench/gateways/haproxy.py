"""HAProxy with the same work: a map of path prefixes, a map of keys, a stick table, a unique id, a sampled JSON log."""

from __future__ import annotations

from pathlib import Path

from tests.bench.load import KEY

WITHOUT = ()
_LOG = (
    '{"timestamp":"%tr","id":"%ID","method":"%HM","path":"%HP","status":%ST,"client":"%ci",'
    '"consumer":"%[var(txn.client)]","upstream":"%s","time":%Ta}'
)
_CONFIG = """\
global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  option http-keep-alive
  http-reuse always
  option forwardfor
frontend traffic
  bind 127.0.0.1:{port}
  log global
  unique-id-format %{{+X}}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-ID
  log-format '{log}'
  http-request set-log-level silent if {{ rand(100) ge 10 }}
  http-request set-var(txn.client) req.hdr(X-API-Key),map(clients.map)
  http-request return status 401 unless {{ var(txn.client) -m found }}
  http-request set-header X-Consumer-Name %[var(txn.client)]
  http-request track-sc0 src table clients
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000000 }}
  http-response set-header X-Request-ID %[unique-id]
  use_backend %[path,map_beg(routes.map)]
backend clients
  stick-table type ip size 100k expire 60s store http_req_rate(60s)
backend origin
  server one 127.0.0.1:{origin} observe layer7 error-limit 50 on-error mark-down check inter 60s pool-max-conn 128
"""


def command(program: str, directory: Path, port: int, origin: int, routes: int) -> list[str]:
    """As the package has it."""
    directory.mkdir()
    (directory / "clients.map").write_text(f"{KEY} bench\n")
    paths = [f"/svc-{number}/api/" for number in range(routes - 1)] + ["/bench/"]
    (directory / "routes.map").write_text("".join(f"{path} origin\n" for path in paths))
    (directory / "haproxy.cfg").write_text(_CONFIG.format(port=port, origin=origin, log=_LOG))
    return [program, "-C", str(directory), "-f", "haproxy.cfg", "-db"]
