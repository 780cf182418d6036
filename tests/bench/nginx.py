"""Private nginx servers with one worker: their configuration as text, and the command that runs it.

Everything nginx writes goes to a directory of its own, so it needs no rights and leaves nothing behind.
"""

from __future__ import annotations

import os
from pathlib import Path

_FRAME = """\
{user}worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  # Connections live as long as the run: every contestant keeps its own, so nobody is charged for reconnecting.
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 0;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
{http}
}}
"""

_PROXY = """\
  upstream origin {{
    server 127.0.0.1:{origin};
    keepalive 128;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # Stream, as the other contestants do: nothing waits for a whole body, nothing spills to disk.
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
    }}
  }}"""


def proxy(port: int, origin: int) -> str:
    """The contestant: bare `proxy_pass` with upstream connections kept alive."""
    return framed(_PROXY.format(port=port, origin=origin))


def framed(http: str) -> str:
    """A whole configuration around the given part of its `http` block."""
    # A master that runs as root would give its worker to a user that cannot write to the directory.
    user = "user root root;\n" if os.getuid() == 0 else ""
    return _FRAME.format(user=user, http=http)


def command(directory: Path, configuration: str) -> list[str]:
    """Write the configuration into the directory; the command that serves it in the foreground."""
    directory.mkdir()
    (directory / "nginx.conf").write_text(configuration)
    # -e: what nginx reports before it has read where to report.
    prefix = ["nginx", "-p", str(directory), "-e", "error.log"]
    return [*prefix, "-c", str(directory / "nginx.conf"), "-g", "daemon off;"]
