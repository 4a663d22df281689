"""WS /twilio/media over a real server: who is let in, what is closed at once, and how a call's socket ends."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio_websocket import ConnectionClosed, ConnectionRejected

from relay.call.caller_line import MALFORMED_BURST
from relay.config import LimitsConfig, ReconnectConfig, TwilioConfig
from relay.daemon import twilio_media
from relay.errors import LegLost
from relay.net.outbox import Outbox
from tests.support.callrig import TONE
from tests.support.frontrig import (
    ADMIN_TOKEN,
    OTHER_SID,
    PUBLIC,
    PUBLIC_WSS,
    SID,
    STREAM_SID,
    FrontRig,
    connected,
    front_config,
    open_front,
    signature,
    start,
)
from tests.support.leaks import resources, resources_return_to
from tests.support.peers import WebSocketPeer

PATH = "/twilio/media"
REJECTED = "relay_auth_rejected_total"


def audio(payload: str = "/////w==") -> str:
    body = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": payload}
    return json.dumps({"event": "media", "sequenceNumber": "2", "streamSid": STREAM_SID, "media": body})


def stop() -> str:
    body = {"accountSid": "AC1", "callSid": SID}
    return json.dumps({"event": "stop", "sequenceNumber": "9", "streamSid": STREAM_SID, "stop": body})


async def close_code(peer: WebSocketPeer) -> int | None:
    """Read until the relay closes."""
    with trio.fail_after(20):
        while True:
            try:
                await peer.receive()
            except ConnectionClosed as closed:
                return closed.reason.code if closed.reason else None


async def refusal(rig: FrontRig, headers: Sequence[tuple[str, str]] | None = None) -> tuple[int, str]:
    """Status and code of the answer in place of an upgrade."""
    found: list[ConnectionRejected] = []
    try:
        async with rig.socket(headers):
            pass
    except* ConnectionRejected as group:
        found = [error for error in group.exceptions if isinstance(error, ConnectionRejected)]
    assert found, "the socket was let in"
    assert found[0].body is not None
    body = json.loads(found[0].body)
    assert set(body) == {"error", "code"}
    return found[0].status_code, body["code"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Twilio-Signature", "")],
        [("X-Twilio-Signature", "AAAA")],
        [("X-Twilio-Signature", "\xff\xfe")],
        [("X-Twilio-Signature", signature(PUBLIC + PATH))],
        [("X-Twilio-Signature", signature(PUBLIC_WSS + PATH, token="another"))],
        [("X-Twilio-Signature", signature(PUBLIC_WSS + PATH + "?a=b"))],
    ],
    ids=["none", "empty", "short", "bytes", "https", "other-token", "other-query"],
)
async def test_without_a_good_signature_there_is_no_upgrade_and_it_is_counted(headers: list[tuple[str, str]]) -> None:
    async with open_front() as rig:
        assert await refusal(rig, headers) == (403, "AUTH_REJECTED")
        assert rig.metric(REJECTED, endpoint=PATH) == 1


@pytest.mark.parametrize("signed", [PUBLIC_WSS + PATH, "wss://relay.example.com:443" + PATH])
@pytest.mark.parametrize("name", ["x-twilio-signature", "X-Twilio-Signature"])
async def test_the_signature_is_over_the_wss_address_with_the_port_or_without(signed: str, name: str) -> None:
    async with open_front() as rig, rig.socket([(name, signature(signed))]):
        assert rig.metric(REJECTED, endpoint=PATH) == 0


async def test_when_signatures_are_not_asked_for_the_token_still_is() -> None:
    config = front_config({"twilio_auth_tokens": ()}, twilio=TwilioConfig(validate_signatures=False))
    async with open_front(config) as rig, rig.socket([]) as peer:
        await peer.send(start("guess"))

        assert await close_code(peer) == twilio_media.POLICY_VIOLATION


async def test_without_twilio_there_is_no_media_socket() -> None:
    async with open_front(front_config(twilio=TwilioConfig(enabled=False))) as rig:
        assert await refusal(rig) == (404, "NOT_FOUND")


ONE_UNSTARTED = LimitsConfig(unstarted_sockets=1)


async def test_sockets_that_show_no_token_are_bounded() -> None:
    async with open_front(front_config(limits=ONE_UNSTARTED)) as rig, rig.socket():
        assert await refusal(rig) == (503, "BUSY")


async def test_a_place_among_them_is_free_again_when_the_socket_is_gone() -> None:
    async with open_front(front_config(limits=ONE_UNSTARTED)) as rig:
        for _ in range(3):
            async with rig.socket() as peer:
                await peer.send(start("guess"))
                await close_code(peer)


async def test_a_stream_with_its_token_is_heard_by_the_assistant_and_hears_it() -> None:
    async with open_front() as rig:
        token = await rig.token()
        async with rig.socket() as peer:
            await peer.send(connected())
            await peer.send(start(token))
            await peer.send(audio())
            with trio.fail_after(20):
                await rig.inner.connected.wait()
                heard = await rig.inner.peers[0].receive()
                for _ in range(30):
                    rig.inner.peers[0].send(TONE)
                message = json.loads(await peer.receive())

            assert isinstance(heard, bytes)
            assert (message["event"], message["streamSid"]) == ("media", STREAM_SID)


async def test_listed_parameters_of_the_stream_are_told_to_the_assistants_calls_from_then_on_and_never_the_token() -> (
    None
):
    config = front_config(twilio=TwilioConfig(pass_fields=("plan", "token")))
    async with open_front(config) as rig:
        token = await rig.token()
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        async with rig.socket() as peer:
            await peer.send(start(token, customParameters={"token": token, "plan": "gold", "other": "x"}))
            await peer.send(audio())
            with trio.fail_after(20):
                await rig.inner.peers[0].receive()
                rig.inner.peers[0].lose()
                while len(rig.inner.told) < 2:  # noqa: ASYNC110 - a test has no event for this
                    await trio.sleep(0.01)

        assert rig.inner.told == [{}, {"plan": "gold"}]


async def test_the_stop_message_ends_the_call_and_the_socket() -> None:
    async with open_front() as rig:
        token = await rig.token()
        with capture_logs() as logs:
            async with rig.socket() as peer:
                for message in (connected(), start(token), stop()):
                    await peer.send(message)
                assert await close_code(peer) == 1000
            await rig.until_over()

        assert [line["reason"] for line in logs if line["event"] == "call.ended"] == ["caller_hangup"]


async def test_a_stop_that_waits_behind_a_write_that_failed_still_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twilio closes its socket right behind `stop`, and the relay may write before it reads."""
    write_fails = trio.Event()

    async def fail(_outbox: Outbox, _deadline_s: float) -> None:
        await write_fails.wait()
        raise LegLost("connection lost")

    monkeypatch.setattr(Outbox, "run", fail)
    async with open_front() as rig:
        token = await rig.token()
        async with rig.socket() as peer:
            await peer.send(start(token))
            await rig.inner.connected.wait()
            write_fails.set()
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(stop())
            await rig.until_over()

        assert rig.metric("relay_calls_total", end_reason="caller_hangup") == 1


async def test_a_call_that_is_ended_here_closes_its_socket() -> None:
    async with open_front() as rig:
        token = await rig.token()
        async with rig.socket() as peer:
            await peer.send(start(token))
            call = rig.calls.find(SID)
            assert call is not None
            answer = await rig.http.delete(f"/calls/{call.id}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})

            assert answer.status_code == 202
            assert await close_code(peer) == 1000
        await rig.until_over()


async def test_a_lost_socket_is_waited_for_and_then_ends_the_call_with_that_reason() -> None:
    async with open_front(front_config(reconnect=ReconnectConfig(reattach_grace_s=0.2))) as rig:
        token = await rig.token()
        with capture_logs() as logs:
            async with rig.socket() as peer:
                await peer.send(start(token))
                await trio.sleep(0.1)
                await peer.lose()
                await rig.until_over()

        assert [line["reason"] for line in logs if line["event"] == "call.ended"] == ["caller_lost"]


@pytest.mark.parametrize("wrong", ["no token", "guess", "used", "of another call", "unknown call", "account"])
async def test_a_start_without_the_right_to_it_is_closed_at_once_counted_and_logged(wrong: str) -> None:
    accounts = ("AC" + "f" * 32,) if wrong == "account" else ()
    async with open_front() as rig:
        token = await rig.token()
        other = await rig.token(OTHER_SID)
        rig.context.gate._accounts = frozenset(accounts)
        message = {
            "no token": start(None),
            "guess": start("A" * 32),
            "used": start(token),
            "of another call": start(other),
            "unknown call": start(token, sid="CA" + "9" * 32),
            "account": start(token),
        }[wrong]
        if wrong == "used":
            rig.context.takeover.claim(token, SID)
        with capture_logs() as logs:
            async with rig.socket() as peer:
                await peer.send(connected())
                await peer.send(message)
                assert await close_code(peer) == twilio_media.POLICY_VIOLATION

        (line,) = [line for line in logs if line["event"] == "auth.rejected"]
        assert line["endpoint"] == PATH
        assert token not in str(logs)
        assert rig.metric(REJECTED, endpoint=PATH) == 1
        assert rig.calls.find(SID) is not None


async def test_the_token_of_a_call_that_is_over_opens_nothing() -> None:
    async with open_front() as rig:
        token = await rig.token()
        await rig.calls.drain(0)
        async with rig.socket() as peer:
            await peer.send(start(token))
            assert await close_code(peer) == twilio_media.POLICY_VIOLATION


async def test_a_socket_that_never_starts_is_closed_when_its_time_is_over() -> None:
    config = front_config(twilio=TwilioConfig(media_start_timeout_s=0.5))
    async with open_front(config) as rig, rig.socket() as peer:
        await peer.send(connected())
        assert await close_code(peer) == twilio_media.POLICY_VIOLATION


async def test_talking_without_a_start_does_not_make_the_time_longer() -> None:
    config = front_config(twilio=TwilioConfig(media_start_timeout_s=0.5))
    async with open_front(config) as rig, rig.socket() as peer, trio.open_nursery() as nursery:

        async def chatter() -> None:
            while True:
                await peer.send(connected())
                await trio.sleep(0.05)

        nursery.start_soon(chatter)
        assert await close_code(peer) == twilio_media.POLICY_VIOLATION
        nursery.cancel_scope.cancel()


NASTY: list[tuple[str, str | bytes]] = [
    ("binary", b"\x00\x01"),
    ("empty", ""),
    ("not JSON", "{"),
    ("an array", "[]"),
    ("deep", "[" * 20_000),
    ("no event", "{}"),
    ("event of another type", '{"event": 1}'),
    ("unknown event", '{"event": "reboot"}'),
    ("audio first", audio()),
    ("audio that is none", audio("!!!!")),
    ("cut off", start(None)[:-1]),
]


def telephone(**wrong: object) -> dict[str, object]:
    return {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1} | wrong


BAD_STARTS: list[tuple[str, dict[str, Any], str]] = [
    ("other encoding", {"mediaFormat": telephone(encoding="audio/l16")}, "MEDIA_FORMAT_UNSUPPORTED"),
    ("other rate", {"mediaFormat": telephone(sampleRate=16000)}, "MEDIA_FORMAT_UNSUPPORTED"),
    ("two channels", {"mediaFormat": telephone(channels=2)}, "MEDIA_FORMAT_UNSUPPORTED"),
    ("rate of another type", {"mediaFormat": telephone(sampleRate="fast")}, "FIELD_INVALID"),
    ("format null", {"mediaFormat": None}, "FIELD_INVALID"),
    ("token of another type", {"customParameters": {"token": 5}}, "FIELD_INVALID"),
    ("parameters of another type", {"customParameters": ["token"]}, "FIELD_INVALID"),
    ("no CallSid", {"callSid": None}, "FIELD_INVALID"),
]
BARE_STARTS = [
    ("nothing in it", '{"event": "start"}', "FIELD_MISSING"),
    ("null", '{"event": "start", "sequenceNumber": "1", "streamSid": "MZ", "start": null}', "FIELD_INVALID"),
]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(fields, code) for _, fields, code in BAD_STARTS] + [(text, code) for _, text, code in BARE_STARTS],
    ids=[case[0] for case in BAD_STARTS + BARE_STARTS],
)
async def test_a_start_that_cannot_be_used_is_closed_at_once_counted_and_logged(
    wrong: dict[str, Any] | str, code: str
) -> None:
    """As with a bad token: the call is still there, and its own stream with its token is let in."""
    async with open_front(front_config(twilio=TwilioConfig(media_start_timeout_s=60))) as rig:
        token = await rig.token()
        with capture_logs() as logs:
            async with rig.socket() as peer:
                await peer.send(connected())
                await peer.send(wrong if isinstance(wrong, str) else start(token, **wrong))
                assert await close_code(peer) == twilio_media.POLICY_VIOLATION

        (line,) = [line for line in logs if line["event"] == "caller.bad_message"]
        assert line["code"] == code
        assert token not in str(logs)
        assert rig.metric("relay_protocol_errors_total", leg="caller", code=code) == 1
        async with rig.socket() as peer:
            await peer.send(start(token))
            await peer.send(stop())
            assert await close_code(peer) == 1000


@pytest.mark.parametrize("message", [case[1] for case in NASTY], ids=[case[0] for case in NASTY])
async def test_nonsense_before_the_start_is_counted_and_forgiven_a_few_times(message: str | bytes) -> None:
    async with open_front() as rig:
        token = await rig.token()
        async with rig.socket() as peer:
            for _ in range(twilio_media.BAD_MESSAGES_MAX - 1):
                await peer.send(message)
            await peer.send(start(token))
            await peer.send(stop())
            assert await close_code(peer) == 1000
        async with rig.socket() as peer:
            for _ in range(twilio_media.BAD_MESSAGES_MAX):
                await peer.send(message)
            assert await close_code(peer) == twilio_media.POLICY_VIOLATION

        seen = [s for m in rig.context.metrics.registry.collect() for s in m.samples if s.name.endswith("errors_total")]
        assert sum(sample.value for sample in seen) == 2 * twilio_media.BAD_MESSAGES_MAX - 1


@pytest.mark.parametrize("message", [case[1] for case in NASTY], ids=[case[0] for case in NASTY])
async def test_nonsense_in_a_live_call_does_not_end_it(message: str | bytes) -> None:
    async with open_front() as rig:
        token = await rig.token()
        async with rig.socket() as peer:
            await peer.send(start(token))
            for _ in range(20):
                await peer.send(message)
            await trio.sleep(0.05)
            assert rig.calls.find(SID) is not None
            await peer.send(stop())
            assert await close_code(peer) == 1000


async def test_a_call_whose_caller_sends_nothing_but_nonsense_is_ended_with_its_assistant_s() -> None:
    with capture_logs() as logs:
        async with open_front() as rig:
            token = await rig.token()
            async with rig.socket() as peer:
                await peer.send(start(token))
                await rig.inner.connected.wait()
                with suppress(ConnectionClosed):
                    for _ in range(MALFORMED_BURST + 100):
                        await peer.send("nonsense")
                assert await close_code(peer) == 1000
            await rig.until_over()
            assert rig.metric("relay_calls_total", end_reason="protocol_error") == 1

    (line,) = [line for line in logs if line["event"] == "caller.cut_off"]
    assert (line["log_level"], line["code"]) == ("warning", "TOO_MANY_MALFORMED")
    assert len([line for line in logs if line["event"] == "caller.bad_message"]) == 1
    assert [line["reason"] for line in logs if line["event"] == "call.ended"] == ["protocol_error"]


async def test_a_message_that_is_too_long_ends_the_socket_and_not_the_relay() -> None:
    async with open_front(front_config(reconnect=ReconnectConfig(reattach_grace_s=0))) as rig:
        token = await rig.token()
        async with rig.socket() as peer:
            await peer.send(start(token))
            await peer.send("x" * 100_000)
            assert await close_code(peer) == 1009
        await rig.until_over()
        assert (await rig.http.get("/health")).status_code == 200


async def test_a_newer_stream_of_the_same_call_takes_its_place() -> None:
    async with open_front() as rig:
        first, second = await rig.token(), await rig.token()
        async with rig.socket() as old, rig.socket() as new:
            await old.send(start(first))
            await trio.sleep(0.1)
            await new.send(start(second, stream="MZ" + "e" * 32))
            assert await close_code(old) == 1000
            await trio.sleep(0.05)
            assert rig.calls.find(SID) is not None
            await new.send(stop())
            assert await close_code(new) == 1000


def key(digit: str, number: int) -> str:
    body = {"track": "inbound_track", "digit": digit}
    return json.dumps({"event": "dtmf", "sequenceNumber": str(number), "streamSid": STREAM_SID, "dtmf": body})


async def test_keys_that_were_still_on_their_way_on_the_older_stream_reach_the_assistant_once() -> None:
    async with open_front() as rig:
        first, second = await rig.token(), await rig.token()
        async with rig.socket() as old, rig.socket() as new:
            await old.send(start(first))
            await old.send(key("1", 2))
            with trio.fail_after(20):
                await rig.inner.connected.wait()
                await new.send(start(second, stream="MZ" + "e" * 32))
                while not rig.metric("relay_reconnects_total", leg="caller", result="ok"):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                for message in ("nonsense", key("2", 3), audio(), key("3", 5)):
                    await old.send(message)
                await old.send(stop())
                assert await close_code(old) == 1000
                await new.send(key("4", 2))
                told: list[str] = []
                while len(told) < 4:
                    said = await rig.inner.peers[0].receive()
                    told += [said] if isinstance(said, str) else []

            assert rig.calls.find(SID) is not None, "the older stream ends, and not the call"
            assert [json.loads(it)["message"]["content"].split()[3] for it in told] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("end", ["stop", "lose", "close", "bad token", "nonsense"])
async def test_twenty_sockets_leave_nothing_behind(end: str) -> None:
    async with open_front(front_config(reconnect=ReconnectConfig(reattach_grace_s=0))) as rig:
        await rig.http.get("/health")
        before = await resources()
        for number in range(20):
            sid = f"CA{number:032x}"
            token = await rig.token(sid)
            async with rig.socket() as peer:
                await peer.send(start("guess" if end == "bad token" else token, sid=sid))
                match end:
                    case "stop":
                        await peer.send(stop())
                    case "lose":
                        await peer.lose()
                    case "close":
                        await peer.close()
                    case "nonsense":
                        for _ in range(100):
                            await peer.send("nonsense")
                    case _:
                        await close_code(peer)
        for call in rig.calls.live():
            await rig.post("/twilio/status", {"CallSid": call.sid, "AccountSid": "AC1", "CallStatus": "completed"})
        with trio.fail_after(10):
            await rig.calls.wait_empty()
        await resources_return_to(before)
