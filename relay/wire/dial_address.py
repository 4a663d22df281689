"""Reads the addresses to which callers can be connected, and whether the operator's list allows one.

An entry is a number ("+4930123456") or an address ("sip:desk@pbx.example.com"), or ends in "*" for all that begin so:
"+4930*", "+*", "sip:*", and "sip:desk@pbx.example.com;*" for one address with any parameters. An address with a star
before the end of its host would also allow hosts of strangers, so there is none.
"""

import re
from collections.abc import Iterable

_USER = r"[A-Za-z0-9._~!$&'()+,=%-]{1,64}"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_REST = r"(?::[0-9]{1,5})?(?:;[A-Za-z0-9._~!$&'()+,;=%-]{0,200})?"
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_SIP = re.compile(rf"sips?:(?:{_USER}@)?{_HOST}{_REST}", re.IGNORECASE)
_NUMBERS = re.compile(r"\+(?:[1-9][0-9]{0,14})?\*")
_SIPS = re.compile(rf"sips?:(?:(?:{_USER}@)?{_HOST}[;:][A-Za-z0-9._~;=-]{{0,200}})?\*", re.IGNORECASE)
_PUNCTUATION = str.maketrans("", "", " -.()/")


def destination_of(text: str) -> str | None:
    """Return a telephone number in E.164 form or a SIP address as Twilio dials it; None for anything else.

    Punctuation within a number is left out. An address has no headers ("?..."), which could say more than where to.
    """
    address = text.strip()
    if _SIP.fullmatch(address):
        return address
    number = address.translate(_PUNCTUATION)
    return number if _NUMBER.fullmatch(number) else None


def is_entry(text: str) -> bool:
    """Whether this can stand in the list."""
    return any(kind.fullmatch(text) for kind in (_NUMBER, _SIP, _NUMBERS, _SIPS))


def allowing(destination: str, entries: Iterable[str]) -> str | None:
    """Return the entry that allows this destination, which is one of `destination_of`; None: nobody may be connected
    to it. Capitals make no difference."""
    asked = destination.lower()
    for entry in entries:
        allowed = entry.lower()
        if asked == allowed or (allowed.endswith("*") and asked.startswith(allowed[:-1])):
            return entry
    return None
