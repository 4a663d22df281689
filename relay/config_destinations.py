"""Checks the addresses of the configuration that callers are sent to, and those that the relay itself asks."""

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from relay.config import LimitsConfig, ServerConfig, TransferConfig
from relay.wire.dial_address import is_entry

Problem = tuple[str, object, str]
"""A key, its value, and what would be allowed."""
_NOT_URL = re.compile(r"[^\x21-\x7e]")
_PORTS = {"https": 443, "http": 80}


def split_address(address: str) -> SplitResult | None:
    """The parts of an http address without a query that the relay can use, None if it is none: TLS, except to this
    machine."""
    url = _split(address)
    return None if url is None or "?" in address else url


def overflow_problems(limits: LimitsConfig, server: ServerConfig) -> Iterator[Problem]:
    """Callers of a full house are sent to another server than this one."""
    if not limits.overflow_url:
        return
    url, own = _split(limits.overflow_url), _split(server.public_url)
    if url is None:
        allowed = "https://HOST[:PORT][/PATH][?QUERY] (http:// for localhost), or empty"
        yield "limits.overflow_url", limits.overflow_url, allowed
    elif own is not None and _place(url) == _place(own):
        yield "limits.overflow_url", limits.overflow_url, f"an address of another server than {server.public_url}"


def transfer_problems(transfer: TransferConfig) -> Iterator[Problem]:
    """Each entry of the list is one that allows what it seems to."""
    wrong = [entry for entry in transfer.allow if not is_entry(entry)]
    if wrong:
        allowed = 'numbers and SIP addresses, as "+4930123456", "+4930*", "sip:desk@pbx.example.com" and "sip:*"'
        yield "transfer.allow", wrong, allowed


def _place(url: SplitResult) -> tuple[str, int]:
    host = (url.hostname or "").rstrip(".")
    return host, url.port or _PORTS[url.scheme]


def _split(address: str) -> SplitResult | None:
    try:
        url = urlsplit(address)
        local = url.hostname in {"localhost", "127.0.0.1", "::1"}
        usable = url.hostname and url.port != 0 and (url.scheme == "https" or (url.scheme == "http" and local))
    except ValueError:
        return None
    clean = not ("@" in url.netloc or "#" in address or _NOT_URL.search(address))
    return url if usable and clean else None
