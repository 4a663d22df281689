"""What Vapi's webhooks need, opened: where the file of the events is, and when there is anything at all."""

from pathlib import Path

import pytest

from relay.config import EventsConfig, StateConfig
from relay.daemon.webhooks import journal_file
from relay.wire.webhook_auth import WebhookRules
from tests.support.frontrig import front_config, open_front


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("memory:", None),
        ("sqlite:", Path("/var/lib/relay/relay-events.db")),
        ("sqlite:/srv/calls.db", Path("/srv/calls-events.db")),
        ("redis://state.example.com/0", Path("/var/lib/relay/relay-events.db")),
    ],
)
def test_the_events_have_a_file_beside_that_of_the_calls(url: str, file: Path | None) -> None:
    assert journal_file(url, {"STATE_DIRECTORY": "/var/lib/relay"}) == file


async def test_there_is_nothing_unless_webhooks_are_asked_for() -> None:
    async with open_front(front_config()) as front:
        assert front.context.webhooks is None


@pytest.mark.parametrize(("url", "forwards"), [("", False), ("http://127.0.0.1:9/", True)])
async def test_there_is_a_forwarder_where_there_is_an_address(url: str, *, forwards: bool) -> None:
    config = front_config(
        {"events_secret": "events-secret-of-the-test"},
        webhooks=WebhookRules(),
        events=EventsConfig(forward_url=url),
        state=StateConfig(url="memory:"),
    )
    async with open_front(config) as front:
        assert front.context.webhooks is not None
        assert (front.context.webhooks.forwarder is not None) == forwards
