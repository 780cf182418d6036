"""What an operator who misspelt a word probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(key: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" for the nearest known key, else the list of what is known."""
    names = list(dict.fromkeys(known))
    folded = {name.lower(): name for name in names}
    plain = key.lower().replace("_", "").replace("-", "")
    near = [folded[plain]] if plain in folded else [folded[n] for n in get_close_matches(plain, folded, 1, 0.6)]
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(names))}"
