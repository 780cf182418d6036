"""The origin: another nginx that answers from memory, so that it is never what a run waits for.

A prefix of its own (`/bench/`) lets every contestant forward the path as it came: the same bytes on every wire.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench import nginx

SMALL = "/bench/small"
UPLOAD = "/bench/upload"
MEBIBYTE = "/bench/mebibyte"

SMALL_BODY = (
    '{"id":4711,"name":"Ada Lovelace","email":"ada@example.com","roles":["admin","author"],"active":true,"n":12345}'
)

# `return` answers at once, also while a body is still under way. That is right for bodies that arrive with their head;
# an upload has to be read whole first, or its cost would not be measured. The one thing in plain nginx that reads a
# body and forgets it is passing on a request without it, here to itself.
_SERVER = """\
  client_header_buffer_size 16k;
  client_body_buffer_size 2m;
  open_file_cache max=10;
  upstream itself {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  server {{
    listen 127.0.0.1:{port};
    location = {small} {{ default_type application/json; return 200 '{body}'; }}
    location = {mebibyte} {{ alias mebibyte.bin; }}
    location = {upload} {{
      proxy_pass http://itself{small};
      proxy_method GET;
      proxy_http_version 1.1;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header Connection "";
    }}
  }}"""


def command(directory: Path, port: int) -> list[str]:
    """Lay out the origin's files in the directory; the command that serves them on the port."""
    server = _SERVER.format(port=port, small=SMALL, mebibyte=MEBIBYTE, upload=UPLOAD, body=SMALL_BODY)
    started = nginx.command(directory, nginx.framed(server))
    (directory / "mebibyte.bin").write_bytes(bytes(range(256)) * 4096)
    return started
