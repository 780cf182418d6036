"""What an operator who misspelt a word probably meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

MOST = 200
"""Among more words than these none is looked for, nor are they listed: ten thousand faults must stay cheap."""


def near(word: str, known: Collection[str]) -> str | None:
    """The known word that is nearest, if one is near: case, "_" and "-" do not count."""
    if len(known) > MOST:
        return None
    folded = {_folded(name): name for name in known}
    plain = _folded(word)
    if plain in folded:
        return folded[plain]
    return next((folded[name] for name in get_close_matches(plain, folded, 1, 0.6)), None)


def suggestion(word: str, known: Collection[str]) -> str:
    """ "; did you mean X?", else "; known here: …" with all of them, or "" where they are too many."""
    if len(known) > MOST:
        return ""
    guess = near(word, known)
    return f"; did you mean {guess}?" if guess else f"; known here: {', '.join(sorted(set(known)))}"


def _folded(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")
