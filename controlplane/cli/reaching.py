"""How a control plane is reached: no proxies, no redirects, and over TLS with the authorities that are meant.

A token must not travel further than the URL that it was given for: a redirect would take it along.
"""

from __future__ import annotations

import ssl
import urllib.request
from http.client import RemoteDisconnected
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from controlplane.auth.token_file import is_here
from controlplane.cli.failure import Code, Failure

CaFile = Annotated[
    str,
    typer.Option(
        "--ca-file",
        envvar="FLEXGATE_CA_FILE",
        help="PEM authorities that its certificate may be of; default: the context's, else this machine's.",
        show_default=False,
    ),
]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Let a redirect be the answer."""


def is_url(text: str) -> bool:
    """Whether this is http:// or https:// with a host and, if any, a port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def opener(ca_file: str = "") -> urllib.request.OpenerDirector:
    """What opens URLs; with a file of PEM authorities, these are trusted and no others. Failure where it is none."""
    # Without the environment's proxies: a control plane is a neighbour.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirects()]
    if ca_file:
        handlers.append(urllib.request.HTTPSHandler(context=_trusting(ca_file)))
    return urllib.request.build_opener(*handlers)


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise Failure(f"{ca_file} holds no PEM certificates", Code.USAGE) from error
    except OSError as error:
        raise Failure(f"cannot read {ca_file}: {error.strerror}", Code.USAGE) from error


def hint(url: str, reason: object) -> str:
    """What to do where a connection came to nothing; "" where that is nothing about TLS."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "its certificate is not trusted: give the authority that signed it with --ca-file, or in the context"
    if isinstance(reason, ssl.SSLError) and reason.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "it does not speak TLS: write http://"
    if url.startswith("http:") and isinstance(reason, RemoteDisconnected | ConnectionResetError):
        return "if it speaks TLS, write https://"
    return ""


def exposed(url: str) -> str:
    """A warning where what is sent to a URL can be read on the way; "" where not."""
    if url.startswith("http:") and not is_here(url):
        return f"warning: your credential travels in plain text to {url}: use https"
    return ""
