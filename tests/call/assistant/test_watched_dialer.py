"""What is known about an assistant from its dials, and what the log must not show of them."""

import pytest
import trio
from trio.testing import MockClock

from relay.call.assistant.dialer import NewCall
from relay.call.assistant.watched_dialer import FAILING_S, WatchedDialer
from relay.errors import AssistantUnavailable, LegLost
from relay.redaction import MASK, Redactor
from relay.wire.vapi_call import CallCreated
from tests.support.callrig import MULAW, AssistantSocket, FakeDialer

SOCKET_URL = "wss://vapi.example/c1/transport"
CONTROL_URL = "https://control.vapi.example/c1/control"
CREATED = CallCreated("c1", SOCKET_URL, CONTROL_URL, MULAW)
UNAVAILABLE = AssistantUnavailable("no", "VAPI_UNREACHABLE", retriable=True)


class RefusingDialer(FakeDialer):
    def connect(self, created: CallCreated):  # type: ignore[no-untyped-def]
        raise LegLost("handshake refused")


async def test_it_is_the_dialer_inside() -> None:
    inner = FakeDialer(MULAW)
    dialer = WatchedDialer(inner, Redactor())
    created = await dialer.create(NewCall("id"))
    async with dialer.connect(created) as socket:
        assert isinstance(socket, AssistantSocket)
    await dialer.hang_up("c1", None)

    assert (dialer.name, dialer.format, inner.hung_up) == ("fake", MULAW, ["c1"])


async def test_the_addresses_of_a_call_are_hidden_while_it_is_connected_and_forgotten_after() -> None:
    redactor = Redactor()
    dialer = WatchedDialer(FakeDialer(MULAW), redactor)
    async with dialer.connect(CREATED):
        during = redactor.text(f"{SOCKET_URL} {CONTROL_URL}")
    after = redactor.text(SOCKET_URL)

    assert during == f"{MASK} {MASK}"
    assert after == SOCKET_URL


async def test_the_addresses_are_forgotten_when_the_call_crashes() -> None:
    redactor = Redactor()
    dialer = WatchedDialer(FakeDialer(MULAW), redactor)
    with pytest.raises(ValueError, match="crash"):
        async with dialer.connect(CREATED):
            raise ValueError("crash")

    assert redactor.text(SOCKET_URL) == SOCKET_URL


async def test_a_failed_dial_counts_until_one_works() -> None:
    dialer = WatchedDialer(FakeDialer(MULAW), Redactor())
    before = dialer.failing
    dialer.note_unavailable()
    failed = dialer.failing
    async with dialer.connect(CREATED):
        again = dialer.failing

    assert (before, failed, again) == (False, True, False)


async def test_one_request_that_fails_is_no_failed_dial() -> None:
    dialer = WatchedDialer(FakeDialer(MULAW, failure=UNAVAILABLE), Redactor())
    with pytest.raises(AssistantUnavailable):
        await dialer.create(NewCall("id"))

    assert not dialer.failing


async def test_a_refused_handshake_is_a_failed_dial() -> None:
    dialer = WatchedDialer(RefusingDialer(MULAW), Redactor())
    with pytest.raises(LegLost):
        async with dialer.connect(CREATED):
            pass

    assert dialer.failing


async def test_a_socket_that_is_lost_later_is_no_failed_dial() -> None:
    dialer = WatchedDialer(FakeDialer(MULAW), Redactor())
    with pytest.raises(LegLost):
        async with dialer.connect(CREATED):
            raise LegLost("later")

    assert not dialer.failing


async def test_a_failure_does_not_count_for_ever(autojump_clock: MockClock) -> None:
    """Or a relay that is not ready would get no calls, and never find out that the assistant is back."""
    dialer = WatchedDialer(FakeDialer(MULAW), Redactor())
    dialer.note_unavailable()
    await trio.sleep(FAILING_S - 1)
    still = dialer.failing
    await trio.sleep(2)

    assert still
    assert not dialer.failing
