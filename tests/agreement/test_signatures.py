"""The relay's check of signatures, against the `RequestValidator` of Twilio's own library, and where that one fails."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
from twilio.request_validator import RequestValidator, get_signature_algorithm

from relay.wire.signature import TwilioValidator
from tests.support.agreement import Note

GENERATED = 5000
TOKEN, KEY_ID, SECRET = "12345", "webhooks_sharedkey_1", "shared-secret"
SETTINGS = {"token": None, "shared key": f"key={KEY_ID},algorithm=HMAC_SHA256", "key alone": f"key={KEY_ID}"}
ours = TwilioValidator((TOKEN,), {KEY_ID: SECRET})

SCHEMES = ("https", "https", "http", "wss", "ws")
HOSTS = ("relay.example.com", "h", "XN--BCHER-KVA.example", "192.0.2.7", "user:pw@h.example", "[2001:db8::1]")
PORTS = ("", "", ":443", ":80", ":8443")
PATHS = ("", "/", "/twilio/voice", "/%7Ex%2Fy/", "/a;b=c", "/\u00fc")
QUERIES = ("", "", "?", "?a=1&b=%2F%20x", "?a=b:c@d", "?x=1?y", "?bodySHA256=x")
WORDS = ("", "a", "B", "CallSid", "+14155550100", " x ", "\u00e9", "\u20ac\U0001f600", "a&b=c%20", "\x00\n")


class Form:
    """As web frameworks give it to the library: names, each with all of its values."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def __iter__(self) -> Iterator[str]:
        return iter(name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def getlist(self, wanted: str) -> list[str]:
        return [value for name, value in self._pairs if name == wanted]


@dataclass(frozen=True)
class Request:
    """A request as a server sees it, and the URL that was signed."""

    url: str
    signed_url: str
    params: tuple[tuple[str, str], ...]
    signer: str

    @property
    def signature(self) -> str:
        return str(self._theirs.compute_signature(self.signed_url, Form(list(self.params)), self._algorithm))

    @property
    def _theirs(self) -> RequestValidator:
        return RequestValidator(TOKEN if self.signer == "token" else SECRET)

    @property
    def _algorithm(self) -> str:
        return str(get_signature_algorithm(SETTINGS[self.signer]))

    def verdicts(self, signature: str) -> tuple[bool, bool]:
        """What the library says of a signature, and what the relay says."""
        theirs = self._theirs.validate(self.url, Form(list(self.params)), signature, self._algorithm)
        settings = SETTINGS[self.signer]
        if self.params:
            return theirs, ours.form_valid(self.url, self.params, signature, settings)
        return theirs, ours.handshake_valid(self.url, signature, settings)


FAULTS: Mapping[str, Callable[[Request], bool]] = {
    "a port behind user:password@ cuts the host off": lambda it: re.search(r"@[^/?]*:[0-9]", it.url) is not None,
    "a port behind an IPv6 address cuts it off": lambda it: "]:" in it.url,
    "the default port of wss is 80": lambda it: it.url.startswith("wss:") and _port(it.url) != _port(it.signed_url),
    "a bare question mark is dropped from the URL": lambda it: it.url.endswith("?") or it.signed_url.endswith("?"),
}
"""Of the library: why, and where they show. Each is pinned below."""


def _port(url: str) -> str | None:
    found = re.search(r":([0-9]+)(?:[/?]|$)", url)
    return found and found[1]


def generated(chance: random.Random) -> Request:
    scheme, host, path, query = map(chance.choice, (SCHEMES, HOSTS, PATHS, QUERIES))
    url = f"{scheme}://{host}{chance.choice(PORTS)}{path}{query}"
    signed = f"{scheme}://{host}{chance.choice(PORTS)}{path}{query}"
    if chance.random() < 0.2:
        signed = signed.removesuffix("?") if signed.endswith("?") else signed + "?"
    names = [chance.choice(WORDS) for _ in range(chance.randrange(6))]
    params = tuple((name, chance.choice(WORDS)) for name in names + names[:1])
    return Request(url, signed, params, chance.choice(list(SETTINGS)))


def spoilt(request: Request, chance: random.Random) -> Request:
    """Signed over something else."""
    extra = (*request.params, ("Extra", "1"))
    return chance.choice([replace(request, signed_url=request.signed_url + "x"), replace(request, params=extra)])


def test_generated_signatures_are_judged_as_the_library_judges_them(note: Note) -> None:
    chance = random.Random(20261128)
    seen: Counter[str] = Counter()
    for _ in range(GENERATED):
        request = generated(chance)
        signature = (request if chance.random() < 0.7 else spoilt(request, chance)).signature
        theirs, relays = request.verdicts(signature)
        fault = next((name for name, shows in FAULTS.items() if shows(request)), None)

        assert theirs == relays or fault is not None, request
        seen[f"both {'accept' if relays else 'refuse'}" if theirs == relays else str(fault)] += 1

    assert set(FAULTS) < set(seen)
    assert min(seen["both accept"], seen["both refuse"]) > GENERATED // 10
    note("Twilio: signatures", GENERATED, "; ".join(f"{count} {name}" for name, count in seen.most_common()))


VOICE = "https://h.example/v"


@pytest.mark.parametrize(
    ("fault", "url", "signed_url", "theirs", "relays"),
    [
        (
            "a port behind user:password@ cuts the host off",
            "https://u:p@h.example:443/v",
            "https://u:p@h.example/v",
            False,
            True,
        ),
        ("a port behind an IPv6 address cuts it off", "https://[::1]:443/v", "https://[::1]/v", False, True),
        ("the default port of wss is 80", "wss://h.example/m", "wss://h.example:443/m", False, True),
        ("the default port of wss is 80", "wss://h.example/m", "wss://h.example:80/m", True, False),
        ("a bare question mark is dropped from the URL", VOICE + "?", VOICE + "?", False, True),
        ("a bare question mark is dropped from the URL", VOICE, VOICE + "?", False, True),
    ],
)
def test_a_known_fault_of_the_library_is_still_there_and_not_the_relays(
    fault: str, url: str, signed_url: str, theirs: bool, relays: bool
) -> None:
    request = Request(url, signed_url, (("a", "b"),), "token")

    assert FAULTS[fault](request)
    assert request.verdicts(request.signature) == (theirs, relays)


def test_a_signature_that_is_missing_raises_in_the_library_and_is_refused_by_the_relay() -> None:
    with pytest.raises(TypeError):
        RequestValidator(TOKEN).validate(VOICE, {}, None)

    assert not ours.form_valid(VOICE, [], None, None)
