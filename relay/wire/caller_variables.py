"""Picks what an assistant is told of the caller from the fields of Twilio's requests, as variables of Vapi's.

Sources: Twilio's "TwiML for Programmable Voice" (`From`, `StirVerstat`, `SipHeader_X-...`) and Media Streams
(`start.customParameters`); Vapi's "Dynamic variables" (`assistantOverrides.variableValues`).
"""

import re
from collections.abc import Iterable, Mapping

from relay.wire.twiml import TOKEN_NAME

NUMBER_FIELDS = ("From", "Caller")
"""Both hold the caller's number or SIP address."""
NUMBER_VARIABLE = "callerNumber"
VALUE_MAX_CHARS = 256
"""A longer value is none that is spoken of, and half of it would be another value."""

_NOT_NAME = re.compile(r"[^A-Za-z0-9]")
_BRACES = re.compile(r"[{}]")


def caller_variables(fields: Mapping[str, str], names: Iterable[str], *, with_number: bool) -> dict[str, str]:
    """Return the variables for the fields of these names, and for the caller's number if it is wanted.

    Names are found in upper and lower case, because those of SIP headers have none; in the variable's name every
    character but ASCII letters and digits is "_". A value loses what is not printable, and braces, which would be a
    template. One that is empty then, or longer than VALUE_MAX_CHARS, is left out, and so is our own one-time token.
    """
    by_name = {name.lower(): value for name, value in fields.items()}
    found = {_variable(name): by_name.get(name.lower(), "") for name in names if name.lower() != TOKEN_NAME}
    if with_number:
        found[NUMBER_VARIABLE] = next((fields[name] for name in NUMBER_FIELDS if fields.get(name)), "")
    cleaned = {name: _cleaned(value) for name, value in found.items()}
    return {name: value for name, value in cleaned.items() if 0 < len(value) <= VALUE_MAX_CHARS}


def _variable(name: str) -> str:
    return _NOT_NAME.sub("_", name)


def _cleaned(value: str) -> str:
    return _BRACES.sub("", "".join(character for character in value if character.isprintable())).strip()
