"""Asks a relay, over HTTP and with the admin token, what runs and what happens in a call."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

ANSWER_S = 5.0
SILENCE_S = 40.0
"""A stream of events has a comment every 15 s at least: the connection of one that is silent for so long is lost."""


class RelayRefused(Exception):
    """The relay has answered with an error. The text is what it said; `code` is its code."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class RelayUnreachable(Exception):
    """There was no connection with the relay, or it was lost, or something else answered. The text says how."""


class ServerEvent(NamedTuple):
    """An event as the relay sent it."""

    name: str
    values: Mapping[str, Any]


class AdminClient:
    """A context. Everything waits, and raises RelayRefused or RelayUnreachable."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=ANSWER_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def calls(self) -> dict[str, Any]:
        """What GET /calls answers."""
        with _translated():
            answer = self._http.get("/calls")
            _check(answer)
            found = answer.json()
            if not isinstance(found, dict) or not (isinstance(found.get("calls"), list) and "relay" in found):
                raise _no_relay()
            return found

    def events(self, call_id: str) -> Iterator[ServerEvent]:
        """The events of a call, from now until the relay ends the answer."""
        timeout = httpx.Timeout(ANSWER_S, read=SILENCE_S)
        with _translated(), self._http.stream("GET", f"/calls/{call_id}/events", timeout=timeout) as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            yield from server_events(answer.iter_lines())


def server_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events of a stream (WHATWG HTML, "Server-sent events") whose data is JSON. One without its end is none.

    Raises ValueError for data that is no JSON, RelayUnreachable for JSON that is no object.
    """
    name, data = "", ""
    for line in lines:
        field, _, value = line.partition(":")
        if field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data += value.removeprefix(" ")
        elif not line:
            if data:
                values = json.loads(data)
                if not isinstance(values, dict):
                    raise _no_relay()
                yield ServerEvent(name, values)
            name, data = "", ""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise RelayUnreachable("no answer in time") from None
    except httpx.HTTPError as error:
        raise RelayUnreachable(str(error) or type(error).__name__) from None
    except ValueError:
        raise _no_relay() from None


def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    told = answer.json()
    if not isinstance(told, dict) or "code" not in told:
        raise _no_relay()
    raise RelayRefused(str(told.get("error")), str(told["code"]))


def _no_relay() -> RelayUnreachable:
    return RelayUnreachable("what answers there is no relay")
