"""A thousand server messages are accepted, none is passed on, and the relay is killed."""

from pathlib import Path

from tests.daemon.test_whole_webhooks import survive_a_kill

EVENTS = 1000


async def test_a_thousand_events_survive_a_kill_and_arrive_once_each(tmp_path: Path) -> None:
    await survive_a_kill(tmp_path, EVENTS)
