"""Takes secrets out of whatever is about to be logged."""

import json
import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from urllib.parse import quote, quote_plus, urlsplit

MASK = "***"

_SECRET_KEY = re.compile(
    r"authorization|cookie|token|secret|passw|credential|signature"
    r"|(api|auth|client|private|public|shared)key|(socket|control|listen|websocketcall)url"
)
# What a value in a log line may have at most: a stranger can send more.
_TEXT_CHARACTERS = 4000
_ITEMS = 100
_DEPTH = 20
_SECRET_PATH_CHARACTERS = 16
"""A shorter path is a common one, such as /call, and would be masked wherever it stands."""
_ANYWHERE_CHARACTERS = 6
"""A shorter value is masked only where it is a whole word."""


class Redactor:
    """Knows every secret value of the process, and removes each one wherever it stands in a value.

    It finds the value itself and its forms in URLs, JSON and Python text, and of an address also the path alone, which
    is what some libraries name. A value shorter than six characters is found as a whole word only, or it would take
    parts of innocent words with it. Values that come and go (socket addresses) are added and discarded; a value added
    twice must be discarded twice. Each call brings some: the forms of all others are not worked out again for that.
    """

    def __init__(self, values: AbstractSet[str] = frozenset()) -> None:
        self._values: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        """Of how many values each form is one."""
        self._forms: tuple[str, ...] = ()
        """The longest first: a secret that contains another must not be left with its ends. Another thread may log
        meanwhile, so it is never changed, but replaced."""
        self._words: re.Pattern[str] | None = None
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask this value from now on."""
        if value:
            self._values[value] += 1
            if self._values[value] == 1:
                self._add_forms(_forms(value))

    def knows(self, value: str) -> bool:
        """Whether this value is masked."""
        return value in self._values

    def discard(self, value: str) -> None:
        """Forget one `add` of the value. One that is not known is no error."""
        if self._values[value] == 1:
            self._discard_forms(_forms(value))
        if self._values[value] <= 1:
            del self._values[value]
        else:
            self._values[value] -= 1

    def text(self, text: str) -> str:
        """Return the text with a mask in place of every secret."""
        forms = self._forms
        for form in forms[bisect_left(forms, -len(text), key=_shortness) :]:  # a longer one cannot be in it
            if form in text:
                text = text.replace(form, MASK)
        return self._words.sub(MASK, text) if self._words else text

    def clean_event(self, event: Mapping[str, object]) -> dict[str, object]:
        """Return a log event with its values made of plain, bounded JSON types, without any secret. Never raises.

        The event's own keys are names in this program and stay as they are. A value becomes its repr if it is no JSON
        type; under a key that looks secret, at any depth, it is masked even if it is not known.
        """
        return {key: self._entry(key, value, _DEPTH) for key, value in event.items()}

    def _clean(self, value: object, depth: int) -> object:
        match value:
            case None | bool():
                return value
            case int():
                return self._number(int(value))
            case float() if math.isfinite(value):
                return self._number(float(value))
            case str():
                return self._bounded(str(value))
            case bytes() | bytearray() | memoryview():
                return self._bounded(bytes(value).decode("utf-8", "backslashreplace"))
            case Mapping() if depth:
                pairs = list(value.items())[:_ITEMS]
                return {_printed(self._key(key)): self._entry(key, item, depth) for key, item in pairs}
            case list() | tuple() | set() | frozenset() if depth:
                return [self._clean(item, depth - 1) for item in list(value)[:_ITEMS]]
            case _:
                return self._bounded(_printed(value))

    def _entry(self, key: object, item: object, depth: int) -> object:
        if isinstance(item, bool | None) or not looks_secret(_printed(key)):
            return self._clean(item, depth - 1)
        return MASK

    def _key(self, key: object) -> str:
        return self._bounded(_printed(key))

    def _number(self, number: float) -> object:
        return MASK if self._values and str(number) in self._values else number

    def _bounded(self, text: str) -> str:
        clean = self.text(text)
        return clean if len(clean) <= _TEXT_CHARACTERS else clean[:_TEXT_CHARACTERS] + "..."

    def _add_forms(self, forms: set[str]) -> None:
        new = {form for form in forms if not self._counts[form]}
        self._counts.update(forms)
        self._set_forms([*self._forms, *(form for form in new if len(form) >= _ANYWHERE_CHARACTERS)])
        self._find_words(new)

    def _discard_forms(self, forms: set[str]) -> None:
        self._counts.subtract(forms)
        old = {form for form in forms if not self._counts[form]}
        for form in old:
            del self._counts[form]
        self._set_forms([form for form in self._forms if form not in old])
        self._find_words(old)

    def _set_forms(self, forms: list[str]) -> None:
        self._forms = tuple(sorted(forms, key=_shortness))

    def _find_words(self, changed: set[str]) -> None:
        if any(len(form) < _ANYWHERE_CHARACTERS for form in changed):
            short = sorted((form for form in self._counts if len(form) < _ANYWHERE_CHARACTERS), key=len, reverse=True)
            words = "|".join(map(re.escape, short))
            self._words = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if words else None


def _shortness(form: str) -> int:
    return -len(form)


def _forms(value: str) -> set[str]:
    forms = {value}
    if "://" in value:
        url = urlsplit(value)
        path = url._replace(scheme="", netloc="").geturl()
        forms |= {path} if len(path) >= _SECRET_PATH_CHARACTERS else set()
    for form in tuple(forms):
        forms |= {quote(form), quote(form, safe=""), quote_plus(form), json.dumps(form)[1:-1], repr(form)[1:-1]}
    return forms


def looks_secret(key: str) -> bool:
    """Whether a value of this name is likely a secret."""
    return _SECRET_KEY.search(key.lower().replace("-", "").replace("_", "")) is not None


def _printed(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a value that cannot be printed must not end the call that logs it
        return f"<{type(value).__name__} that cannot be printed>"
