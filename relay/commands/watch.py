"""`relay tail` and `relay top` show what happens in a relay that runs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import httpx
from rich.console import Console
from rich.live import Live
from rich.text import Text

from relay.commands import WrongUse, check_address
from relay.watch.admin_client import AdminClient, RelayRefused, RelayUnreachable, ServerEvent
from relay.watch.event_line import EventLines
from relay.watch.top_table import CallRate, picture

AGAIN_FOR_S = 30.0
"""A relay that is replaced by another is back sooner, and so is its call."""
AGAIN_EVERY_S = 1.0
REFRESH_EVERY_S = 1.0
AROUND_THE_ROWS = 4
"""Lines of the terminal that no call has."""
_WRONG_USE = {
    "ADMIN_TOKEN_NEEDED": "RELAY_ADMIN_TOKEN is not the one of the relay there",
    "NOT_FOUND": "the relay there has no RELAY_ADMIN_TOKEN, or another address for operators, admin.listen: give that",
}
"""What the relay answers with, and what is wrong then."""


def tail(call: str, url: str, token: str | None, *, as_json: bool) -> int:
    """Print the events of a live call until it ends; 1 if it does not run, or the relay cannot be reached any more.

    `call` is its id, so many letters of it that there is one such call, or its CallSid. Raises WrongUse.
    """
    with _client(url, token) as client:
        try:
            call_id = _find(client, call)
        except (RelayRefused, RelayUnreachable) as error:
            return _failed(url, error)
        return _follow(client, url, call_id, as_json=as_json)


def top(url: str, token: str | None, *, as_json: bool) -> int:
    """Show what runs: in a terminal until Ctrl-C, elsewhere once. 1 if the relay cannot be reached. Raises WrongUse."""
    with _client(url, token) as client:
        console = Console(highlight=False)
        try:
            answer = client.calls()
            if as_json:
                click.echo(json.dumps(answer))
            elif console.is_terminal and not console.is_dumb_terminal:
                _refresh(client, console)
            else:
                console.print(picture(answer))
        except (RelayRefused, RelayUnreachable) as error:
            return _failed(url, error)
        except KeyboardInterrupt:
            pass
    return 0


@contextmanager
def _client(url: str, token: str | None) -> Iterator[AdminClient]:
    check_address(url, "--url")
    token = (token or "").strip()  # as the relay does
    if not token:
        raise WrongUse("RELAY_ADMIN_TOKEN is not set: it must be that of the relay")
    if not all("!" <= character <= "~" for character in token):
        raise WrongUse("RELAY_ADMIN_TOKEN must be one line of printable ASCII without spaces")
    try:
        client = AdminClient(url, token)
    except httpx.InvalidURL as error:
        raise WrongUse(f"--url {url!a}: {error}") from None
    with client:
        yield client


def _find(client: AdminClient, call: str) -> str:
    found = [it["id"] for it in client.calls()["calls"] if it["id"].startswith(call) or it["call_sid"] == call]
    if len(found) > 1:
        raise WrongUse(f"{call}: the ids of {len(found)} calls begin so: give more of it")
    if not found:
        raise RelayRefused(f"no call with the id {call} runs now", "CALL_NOT_FOUND")
    call_id: str = found[0]
    return call_id


def _failed(url: str, error: RelayRefused | RelayUnreachable) -> int:
    """Say so, and return the exit status. Raises WrongUse where the token is wrong."""
    if isinstance(error, RelayUnreachable):
        _say(f"{url}: {error}")
    elif error.code in _WRONG_USE:
        raise WrongUse(f"{url}: {_WRONG_USE[error.code]}")
    else:
        _say(str(error))
    return 1


def _follow(client: AdminClient, url: str, call_id: str, *, as_json: bool) -> int:
    lines, out = EventLines(), Console(highlight=False, soft_wrap=True)
    give_up_at: float | None = None
    is_over = False  # what happened before is still to come
    while True:
        error: RelayRefused | RelayUnreachable = RelayUnreachable("the relay has ended the answer")
        try:
            for event in client.events(call_id):
                if give_up_at is not None:
                    _say("connected again")
                give_up_at = None
                _show(event, lines, out, as_json=as_json)
                is_over = is_over or "ended" in (event.values.get("status"), event.values.get("state"))
        except (RelayRefused, RelayUnreachable) as caught:
            error = caught
        except KeyboardInterrupt:
            return 0
        if is_over:
            return 0
        now = time.monotonic()
        if give_up_at is None:
            _say(f"connection lost ({error}): trying again for {AGAIN_FOR_S:.0f} s")
            give_up_at = now + AGAIN_FOR_S
        if now >= give_up_at or (isinstance(error, RelayRefused) and error.code in _WRONG_USE):
            return _failed(url, error)
        time.sleep(AGAIN_EVERY_S)


def _show(event: ServerEvent, lines: EventLines, out: Console, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"event": event.name, **event.values}))
        return
    text = lines.line(event)
    if out.is_terminal:
        text.truncate(out.width, overflow="ellipsis")
    text.plain = text.plain.encode(out.encoding, "replace").decode(out.encoding)
    out.print(text)


def _refresh(client: AdminClient, console: Console) -> None:
    rate = CallRate()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                answer = client.calls()
            except RelayUnreachable as error:
                live.update(Text(f"{error}: trying again", "bold magenta"), refresh=True)
            else:
                lately = rate.note(time.monotonic(), answer["relay"]["calls_begun"])
                rows_max = max(1, console.height - AROUND_THE_ROWS)
                live.update(picture(answer, begun_lately=lately, rows_max=rows_max), refresh=True)
            time.sleep(REFRESH_EVERY_S)


def _say(text: str) -> None:
    click.echo(f"relay: {text}", err=True)
