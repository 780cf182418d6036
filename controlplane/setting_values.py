"""The values of settings, from the text that operators give: each raises ValueError, with what would be right."""

from __future__ import annotations

from urllib.parse import urlsplit

from controlplane.auth.address import is_loopback
from shared.log import LEVELS


def port(text: str) -> int:
    """A port; 0 is any free one."""
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise ValueError(f"{text!r} is not a port: give a number from 0 to 65535 (0: any free one)")


def seconds(text: str) -> float:
    """A short time."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0.05 <= number <= 300:
        return number
    raise ValueError(f"{text!r} is not a number of seconds from 0.05 to 300")


def switch(text: str) -> bool:
    """on or off."""
    if text in {"on", "off"}:
        return text == "on"
    raise ValueError(f"{text!r} is neither on nor off")


def lifetime(text: str) -> float:
    """Seconds, or a number with m, h or d."""
    number, unit = text[:-1], {"m": 60, "h": 3600, "d": 86_400}.get(text[-1:], 0)
    if not unit:
        number, unit = text, 1
    if not number.isascii() or not number.isdigit() or not 60 <= int(number) * unit <= 366 * 86_400:
        raise ValueError(f"{text!r} is no time from 60 seconds to a year: write seconds, or a number with m, h or d")
    return float(int(number) * unit)


def names(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def level(text: str) -> str:
    """A level of the log."""
    if text.lower() in LEVELS:
        return text.lower()
    raise ValueError(f"{text!r} is not one of {', '.join(LEVELS)}")


def url(text: str) -> str:
    """A URL without query and fragment."""
    parts = urlsplit(text)
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment:
        return text
    raise ValueError(f"{text!r} is not a URL such as https://flexgate.example.com")


def origin(text: str) -> str:
    """Scheme and host of a URL, without a slash at its end."""
    if urlsplit(url(text)).path.strip("/"):
        raise ValueError(f"{text!r} has a path; the API is at the root of its host")
    return text.rstrip("/")


def issuer(text: str) -> str:
    """As the provider writes it: a slash at its end counts."""
    parts = urlsplit(url(text))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{text!r} is http; only a provider on this machine can be believed without TLS")
    return text


def count(text: str) -> int:
    """A number."""
    if text.isascii() and text.isdigit() and int(text) <= 1_000_000:
        return int(text)
    raise ValueError(f"{text!r} is not a number from 0 to 1000000")


def positive(text: str) -> int:
    """A number that is not 0."""
    if number := count(text):
        return number
    raise ValueError(f"{text!r} is not a number from 1 to 1000000")


def keeping(text: str) -> float:
    """How long something is kept, in seconds; inf: for ever."""
    if text == "forever":
        return float("inf")
    number, unit = text[:-1], {"h": 3600, "d": 86_400}.get(text[-1:], 0)
    if unit and number.isascii() and number.isdigit() and len(number) <= 6 and int(number):
        return float(int(number) * unit)
    raise ValueError(f"{text!r} is no time to keep something: write a number with h or d, or forever")
