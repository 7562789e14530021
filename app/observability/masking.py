"""Takes secrets out of what is about to leave the process: a log line, an error report.

Two nets, because neither is enough alone: the values that are known to be secret, wherever they
turn up, and the names and forms that secrets go by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from urllib.parse import quote, quote_plus

MASKED = "***"

# A shorter "secret" (a header value such as `1`) would blank out half of every line.
SHORTEST_SECRET = 4

_SECRET_NAME = re.compile(
    r"authori[sz]ation|token|secret|password|passwd|signature|cookie|credential"
    r"|api[-_ ]?key|(^|[-_])dsn$|private[-_ ]?key",
    re.IGNORECASE,
)

_SECRET_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ of a URL
    (re.compile(r"(?<=://)[^/?#\s'\"]+@"), f"{MASKED}@"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASKED}"),
    # https://www.standardwebhooks.com: the form of a signing secret
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), MASKED),
    # `token=…` in a query or a form, `"token": "…"` in JSON, `'token': '…'` in a repr
    (
        re.compile(
            r"((?:token|secret|password|signature|authorization|api[-_]?key)"
            r"(?:=[\"']?|[\"']\s*:\s*[\"']))[^&\s'\"#]+",
            re.IGNORECASE,
        ),
        rf"\1{MASKED}",
    ),
    # urllib3 puts the whole path of a URL into its messages, and some services keep a key in it.
    (re.compile(r"(with url: )\S+"), rf"\1{MASKED}"),
)


# Each form has a piece of these in it: most texts have none, and need no look at each form.
_WITHOUT_HINTS = re.compile(r"[^=\"'\s]*")
_HINTS = ("://", "whsec_")


_PLAIN = frozenset({bool, int, float})


class Mask:
    """Masks the given secret values, in any of the spellings that they take inside other text.

    Values shorter than four characters are not looked for.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= SHORTEST_SECRET
            for spelling in _spellings(secret)
        }
        # The longest first: a secret that begins with another one must not leave its tail behind.
        ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        # What is plainly in a text is found much faster than by the expression.
        self._signs = (*_HINTS, *ordered)
        # The same few names stand in every log line.
        self._name = lru_cache(maxsize=1024)(self.text)

    def _suspicious(self, text: str) -> bool:
        plain = _WITHOUT_HINTS.fullmatch(text) is not None
        return not plain or any(sign in text for sign in self._signs)

    def text(self, text: str) -> str:
        """The text without known secrets and without what looks like one."""
        if not self._suspicious(text):
            return text
        if self._known is not None:
            text = self._known.sub(MASKED, text)
        for form, replacement in _SECRET_FORMS:
            text = form.sub(replacement, text)
        return text

    def value(self, value: object) -> object:
        """A copy made of plain structures, masked at every depth.

        Under a name such as `token` or `Authorization` everything but a bool or None goes. What is
        neither text, number, mapping nor sequence becomes its masked `repr`.
        """
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, Set):
            return sorted((self.value(item) for item in value), key=str)
        return self.text(repr(value))

    def _mapping(self, found: Mapping[object, object]) -> dict[str, object]:
        if self._is_harmless(found):
            return {**found}  # type: ignore[dict-item]  # all names are texts
        return {self._name(str(name)): self._item(name, item) for name, item in found.items()}

    def _is_harmless(self, found: Mapping[object, object]) -> bool:
        """Tell at one look whether flat plain values hold nothing to hide, as most log lines do."""
        texts = []
        for name, value in found.items():
            if type(value) is str:
                texts.append(value)
            elif value is not None and type(value) not in _PLAIN:
                return False
            if type(name) is not str or _names_a_secret(name):
                return False
        # No form and no secret can reach over the mark, which none of them has.
        return not self._suspicious("\0".join((*texts, *found)))  # type: ignore[arg-type]

    def _item(self, name: object, item: object) -> object:
        # `has_token=True` tells nothing, and is what one wants to read.
        if item is None or isinstance(item, bool) or not _names_a_secret(str(name)):
            return self.value(item)
        return MASKED


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _spellings(secret: str) -> set[str]:
    """The secret as it stands, inside a URL, inside JSON, and inside a Python `repr`."""
    return {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }
