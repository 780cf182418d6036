"""A document of plain data to the canonical JSON form of the model, with every unknown key and wrong type found.

Pure. The document's own rules are here (settings at the top level, `timeouts`, placeholders, upstreams by URL); what
is the same at every place is the walk in `shared/canonical.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.canonical import Walk
from shared.faults import Fault
from shared.field_path import child, item
from shared.pb.resources_pb2 import Config, Settings
from shared.shape import fields_of, shown
from shared.url_upstreams import resolve

_SETTINGS = fields_of(Settings.DESCRIPTOR)
_CONFIG = fields_of(Config.DESCRIPTOR)
_ROOT_KEYS = [*(name for name in _CONFIG if name != "settings"), *_SETTINGS, "timeouts"]


@dataclass(slots=True)
class Normalised:
    """The canonical form, what was wrong, and where things came from (canonical path -> written path)."""

    data: dict[str, object] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)


def normalise(document: object) -> Normalised:
    """The canonical form of a whole document; never raises.

    Sections of the settings stand at the top level ("proxy", "security", …) or, as exports of the model have them,
    under `settings`; their canonical paths begin with the section either way.
    """
    result = Normalised()
    walk = Walk(result.faults, result.origins)
    if not isinstance(document, dict):
        problem = "is empty" if document is None else f"holds {shown(document)}"
        walk.fault("", f"the document {problem}; expected keys such as upstreams and routes", "type")
        return result
    settings: dict[str, object] = {}
    for section, value, source in _sections(document, walk):
        if section in settings:
            walk.fault(source, f"another way to write {section}, which is given too; keep one", "duplicate_key")
            continue
        if source != section:
            result.origins[section] = source
        walk.put(settings, _SETTINGS[section], value, section, source)
    _timeouts(document, settings, walk)
    if settings:
        result.data["settings"] = settings
    for key, value in document.items():
        if key in _CONFIG and key != "settings":
            walk.put(result.data, _CONFIG[key], value, key, key)
        elif key not in _ROOT_KEYS and key != "settings":
            walk.unknown("", key, _ROOT_KEYS)
    _placeholders(result)
    _nothing_blocked(result)
    resolve(result.data, result.origins)
    return result


def _sections(document: dict[str, object], walk: Walk) -> Iterable[tuple[str, object, str]]:
    """(section, value, written path) of the settings at both places."""
    for key, value in document.items():
        if key in _SETTINGS:
            yield key, value, key
    nested = document.get("settings", {})
    if not isinstance(nested, dict):
        walk.fault("settings", f"expected an object, got {shown(nested)}", "type")
        return
    for key, value in nested.items():
        if key in _SETTINGS:
            yield key, value, child("settings", key)
        else:
            walk.unknown("settings", key, _SETTINGS)


def _timeouts(document: dict[str, object], settings: dict[str, object], walk: Walk) -> None:
    """The top-level `timeouts`, another name of proxy.timeout."""
    if "timeouts" not in document:
        return
    proxy = settings.setdefault("proxy", {})
    if not isinstance(proxy, dict):
        return
    if "timeout" in proxy:
        walk.fault("timeouts", "another name of proxy.timeout, which is given too; keep one", "duplicate_key")
        return
    walk.origins["proxy.timeout"] = "timeouts"
    timeout = fields_of(Settings.DESCRIPTOR.fields_by_name["proxy"].message_type)["timeout"]
    walk.put(proxy, timeout, document["timeouts"], "proxy.timeout", "timeouts")


def _section(result: Normalised, *keys: str) -> dict[str, object]:
    """A nested object of the settings in canonical form; {} where there is none."""
    place: object = result.data.get("settings")
    for key in keys:
        place = place.get(key) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else {}


def _nothing_blocked(result: Normalised) -> None:
    """An empty list is no list in the model, and the default holds: say so rather than block against the word."""
    if _section(result, "security").get("blockedIPs") == []:
        message = "an empty list means the default (link-local and metadata addresses), not that nothing is blocked"
        result.warnings.append(Fault("security.blockedIPs", message, "default"))


def _placeholders(result: Normalised) -> None:
    """Take out the keys of `security.auth` that still read "<…>", as the documentation prints them: none can match."""
    auth = _section(result, "security", "auth")
    keys = auth.get("keys")
    if not isinstance(keys, list):
        return
    kept: list[object] = []
    for index, entry in enumerate(keys):
        key = entry.get("key", "")
        where = item("security.auth.keys", index)
        if key.startswith("<") and key.endswith(">"):
            message = f"{key} is a placeholder: this entry is left out until a real sha256 stands here"
            result.warnings.append(Fault(child(where, "key"), message, "placeholder"))
        else:
            if len(kept) != index:
                result.origins[item("security.auth.keys", len(kept))] = where
            kept.append(entry)
    auth["keys"] = kept
