"""Plain data to YAML text that `yaml_lines` reads back as the same data."""

from __future__ import annotations

import yaml

from shared.yaml_lines import plain


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.2 would take for something else; PyYAML alone thinks of YAML 1.1 only ("1e5", "0o7").

    So it does for what is not printable: outside of double quotes PyYAML writes U+0085 as a line break.
    """


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(plain(text), str) and text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def dump(data: object) -> str:
    """The data (dicts, lists, str, int, float, bool, None) as block-style YAML, keys in their order, no aliases."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
