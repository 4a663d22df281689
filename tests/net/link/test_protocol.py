"""WebSocketProtocol: it takes the same frames as another library, and refuses the same ones with the same codes."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message
from wsproto.events import Ping as WsprotoPing
from wsproto.events import Pong as WsprotoPong

from relay.errors import LocalProtocolError
from relay.net.link.fragments import MessageBounds, Violation
from relay.net.link.pace import OF_A_CALL, OF_A_STRANGER, OF_AN_ASSISTANT, FrameRates
from relay.net.link.protocol import FRAMES_PER_TURN, Event, Goodbye, Pong, Side, WebSocketProtocol
from tests.support.raw_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    close_frame,
    raw_frame,
)

UNHURRIED = FrameRates(frames_per_s=1e9, bytes_per_s=1e12, burst_s=1e9, controls_per_s=1e9, controls_burst=10**9)
BOUNDS = MessageBounds(text_max_bytes=200_000, binary_max_bytes=100_000)
BOUNDLESS = MessageBounds(text_max_bytes=2**40, binary_max_bytes=2**40)
"""As the other library, which therefore finds another fault behind a message that is too long."""


def protocol(
    side: Side = Side.SERVER, rates: FrameRates = UNHURRIED, bounds: MessageBounds = BOUNDS
) -> WebSocketProtocol:
    return WebSocketProtocol(side, bounds, rates)


def events_of(taker: WebSocketProtocol, *parts: bytes, most: int = 0) -> list[Event]:
    """What comes out when these parts are fed. Behind each binary message `most` more are taken at once."""
    events: list[Event] = []
    for part in parts:
        taker.feed(part)
        while not (taker.is_hungry or taker.is_over):
            if (event := taker.next_event(0.0)) is not None:
                events.append(event)
            if most and isinstance(event, bytes):
                events += taker.more_binaries(0.0, most)
    return events


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        length = lengths[len(parts) % len(lengths)]
        parts.append(data[at : at + length])
        at += length
    return parts


FIRSTS = st.sampled_from([FIN | TEXT, FIN | BINARY, TEXT, BINARY, CONTINUATION, FIN, FIN | PING, FIN | PONG])
ODD_FIRSTS = st.sampled_from([FIN | CLOSE, PING, CLOSE, 0xC1, 0xA2, 0x91, FIN | 3, FIN | 11, 7])
LETTERS = st.sampled_from([b"", b"a", "ü".encode(), "\U0001f600".encode(), "\U0001f600".encode()[:2], b"\x80", b"\xff"])
PAYLOADS = (
    st.lists(LETTERS, max_size=4).map(b"".join)
    | st.binary(max_size=200)
    | st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536])
    | st.builds(lambda code, reason: code.to_bytes(2, "big") + reason, st.integers(0, 5100), LETTERS)
)


@st.composite
def frames(draw: st.DrawFn, side: Side) -> bytes:
    """Whole frames, of which some are wrong."""
    data = b""
    for _ in range(draw(st.integers(1, 12))):
        first = draw(FIRSTS if draw(st.integers(0, 9)) else ODD_FIRSTS)
        masked = (side is Side.SERVER) is (draw(st.integers(0, 30)) > 0)
        data += raw_frame(first, draw(PAYLOADS), masked=masked)
    return data


def wsprotos_view(side: Side, parts: list[bytes]) -> list[Event]:
    """The same of wsproto, up to the first end; the text of a violation is left out."""
    connection = Connection(ConnectionType.SERVER if side is Side.SERVER else ConnectionType.CLIENT)
    seen: list[Event] = []
    message: list[Any] = []
    for part in parts:
        connection.receive_data(part)
        for event in connection.events():
            match event:
                case Message():
                    message.append(event.data)
                    if event.message_finished:
                        seen.append("".join(message) if isinstance(event.data, str) else b"".join(message))
                        message = []
                case WsprotoPong():
                    seen.append(Pong(bytes(event.payload)))
                case CloseConnection():
                    violated = connection.state is ConnectionState.OPEN
                    seen.append(Violation(event.code, "") if violated else Goodbye(event.code, event.reason or ""))
                    return seen
                case WsprotoPing():
                    pass
    return seen


def ours(events: list[Event]) -> list[Event]:
    """Without the texts of violations; 1014, which wsproto does not know, as it sees it."""
    seen: list[Event] = []
    for event in events:
        if isinstance(event, Goodbye) and event.code == 1014:
            seen.append(Violation(1002, ""))
        else:
            seen.append(Violation(event.code, "") if isinstance(event, Violation) else event)
    return seen


@pytest.mark.parametrize("side", Side)
@given(data=st.data(), lengths=st.lists(st.integers(1, 1000) | st.integers(1, 4), min_size=1, max_size=20))
def test_it_takes_and_refuses_what_wsproto_does(side: Side, data: st.DataObject, lengths: list[int]) -> None:
    parts = cut(data.draw(frames(side)), lengths)

    assert ours(events_of(protocol(side, bounds=BOUNDLESS), *parts)) == wsprotos_view(side, parts)


@pytest.mark.parametrize("side", Side)
@given(messages=st.lists(st.text(max_size=300) | st.binary(max_size=300), max_size=10), lengths=st.integers(1, 500))
def test_what_one_side_says_the_other_hears(side: Side, messages: list[str | bytes], lengths: int) -> None:
    speaker, listener = protocol(side), protocol(Side.CLIENT if side is Side.SERVER else Side.SERVER)
    sent = b"".join([*map(speaker.message, messages), speaker.goodbye(4001, "bye")])

    assert events_of(listener, *cut(sent, [lengths])) == [*messages, Goodbye(4001, "bye")]
    assert events_of(speaker, listener.take_answers()) == [Goodbye(4001)]
    assert speaker.is_over


@pytest.mark.parametrize("side", Side)
@given(
    data=st.data(),
    sizes=st.lists(st.sampled_from([0, 1, 125, 126, 300, 65_535, 65_536, 99_999, 100_001]), max_size=6),
    lengths=st.lists(st.integers(1, 1000) | st.integers(1, 4) | st.just(10**6), min_size=1, max_size=20),
    most=st.integers(1, 4),
)
def test_binary_messages_taken_at_once_are_those_taken_one_by_one(
    side: Side, data: st.DataObject, sizes: list[int], lengths: list[int], most: int
) -> None:
    begin = b"".join(raw_frame(FIN | BINARY, bytes(size), masked=side is Side.SERVER) for size in sizes)
    parts = cut(begin + data.draw(frames(side)), [max(length, len(begin) // 50) for length in lengths])

    assert events_of(protocol(side), *parts, most=most) == events_of(protocol(side), *parts)


def test_binary_messages_are_taken_at_once_no_faster_than_the_pace_allows() -> None:
    taker = protocol(rates=OF_A_STRANGER)
    taker.feed(raw_frame(FIN | BINARY, bytes(160), masked=True) * 100)
    taken = taker.more_binaries(0.0, 100)
    assert OF_A_STRANGER.frames_per_s * OF_A_STRANGER.burst_s - 2 <= len(taken) < 20
    assert taker.more_binaries(0.0, 100) == []
    assert taker.more_binaries(1.0, 100) == taken


@given(noise=st.lists(st.binary(max_size=2000), max_size=20))
def test_noise_is_taken_or_refused_once(noise: list[bytes]) -> None:
    events = events_of(protocol(), *noise)
    assert not any(isinstance(event, Goodbye | Violation) for event in events[:-1])


M = True
"""The cases are those of a server, whose peer masks; a client's differ by that alone."""


def f(first: int, payload: bytes = b"", announced: int | None = None) -> bytes:
    return raw_frame(first, payload, masked=M, announced=announced)


def said(code: int, reason: bytes = b"") -> bytes:
    return close_frame(code, reason, masked=M)


HELLO = "Hello-µ@ßöäüàá-UTF-8!!"
BROKEN = "κόσμε".encode() + b"\xed\xa0\x80" + b"edited"
T, B, P, C = FIN | TEXT, FIN | BINARY, FIN | PING, FIN | CLOSE
LAST = FIN | CONTINUATION

# The numbers are those of the Autobahn test suite. Its sizes beyond our bounds are refused with 1009, or 1008 for more
# fragments than we take, which the standard leaves to each side (7.4.1); it asks for every ping to be answered in 2.10
# and 2.11, the standard for the latest (5.5.3).
AUTOBAHN: dict[str, tuple[bytes, list[str | bytes], int | None]] = {
    "1.1.1 empty text": (f(T), [""], None),
    "1.1.2 125 bytes": (f(T, b"*" * 125), ["*" * 125], None),
    "1.1.3 126 bytes": (f(T, b"*" * 126), ["*" * 126], None),
    "1.1.4 127 bytes": (f(T, b"*" * 127), ["*" * 127], None),
    "1.1.5 128 bytes": (f(T, b"*" * 128), ["*" * 128], None),
    "1.1.6 65535 bytes": (f(T, b"*" * 65_535), ["*" * 65_535], None),
    "1.1.7 65536 bytes": (f(T, b"*" * 65_536), ["*" * 65_536], None),
    "1.2.1 empty binary": (f(B), [b""], None),
    "1.2.6 65535 bytes": (f(B, b"\xfe" * 65_535), [b"\xfe" * 65_535], None),
    "1.2.7 65536 bytes": (f(B, b"\xfe" * 65_536), [b"\xfe" * 65_536], None),
    "2.4 a ping of 125 bytes": (f(P, b"\xfe" * 125), [], None),
    "2.5 a ping of 126 bytes": (f(P, b"\xfe" * 126), [], 1002),
    "2.7 a pong that nobody asked for": (f(FIN | PONG), [], None),
    "3.1 the first reserved bit": (f(0xC1, b"x"), [], 1002),
    "3.2 the second, behind a message": (f(T, b"x") + f(0xA1, b"x"), ["x"], 1002),
    "3.3 both": (f(T, b"x") + f(0xE1, b"x"), ["x"], 1002),
    "3.4 the third": (f(T, b"x") + f(0x91, b"x"), ["x"], 1002),
    "3.5 of a binary message": (f(0xD2, b"x"), [], 1002),
    "3.6 of a ping": (f(0xE9, b"x"), [], 1002),
    "3.7 of a goodbye": (f(0xF8, b"x"), [], 1002),
    **{f"4.1.{code - 2} opcode {code}": (f(T, b"x") + f(FIN | code, b"x"), ["x"], 1002) for code in range(3, 8)},
    **{f"4.2.{code - 10} opcode {code}": (f(T, b"x") + f(FIN | code, b"x"), ["x"], 1002) for code in range(11, 16)},
    "5.1 a ping in fragments": (f(PING, b"x") + f(LAST, b"x"), [], 1002),
    "5.2 a pong in fragments": (f(PONG, b"x") + f(LAST, b"x"), [], 1002),
    "5.3 text in two fragments": (f(TEXT, b"a") + f(LAST, b"b"), ["ab"], None),
    "5.6 a ping between them": (f(TEXT, b"a") + f(P, b"x") + f(LAST, b"b"), ["ab"], None),
    "5.9 a continuation of nothing": (f(LAST, b"x") + f(T, b"x"), [], 1002),
    "5.12 one that is not the last": (f(CONTINUATION, b"x") + f(T, b"x"), [], 1002),
    "5.15 behind a message": (f(TEXT, b"a") + f(LAST, b"b") + f(LAST, b"c") + f(T, b"d"), ["ab"], 1002),
    "5.18 a message within a message": (f(TEXT, b"a") + f(T, b"b"), [], 1002),
    "5.19 pings between five fragments": (
        f(TEXT, b"1") + (f(CONTINUATION, b"2") + f(P, b"x")) * 2 + f(CONTINUATION, b"3") + f(LAST, b"4"),
        ["12234"],
        None,
    ),
    "6.1.2 three empty fragments": (f(TEXT) + f(CONTINUATION) + f(LAST), [""], None),
    "6.1.3 only the middle one has text": (f(TEXT) + f(CONTINUATION, b"a") + f(LAST), ["a"], None),
    "6.2.1 text": (f(T, HELLO.encode()), [HELLO], None),
    "6.2.4 a byte in each fragment": (
        f(TEXT) + b"".join(f(CONTINUATION, bytes([byte])) for byte in HELLO.encode()) + f(LAST),
        [HELLO],
        None,
    ),
    "6.3.1 no text": (f(T, BROKEN), [], 1007),
    "6.3.2 a byte in each fragment": (
        f(TEXT) + b"".join(f(CONTINUATION, bytes([byte])) for byte in BROKEN),
        [],
        1007,
    ),
    "6.4.1 no text, and not the last fragment": (f(TEXT, BROKEN) + f(CONTINUATION, b"x"), [], 1007),
    "7.1.3 a ping behind the goodbye": (said(1000) + f(P), [], 1000),
    "7.1.4 a message behind it": (said(1000) + f(T, b"x"), [], 1000),
    "7.1.5 a goodbye within a message": (f(TEXT, b"a") + said(1000) + f(LAST, b"b"), [], 1000),
    "7.3.1 no code": (f(C), [], 1005),
    "7.3.2 half a code": (f(C, b"\x03"), [], 1002),
    "7.3.4 a reason": (said(1000, b"Hello World!"), [], 1000),
    "7.3.5 a reason of 123 bytes": (said(1000, b"*" * 123), [], 1000),
    "7.3.6 of 124": (said(1000, b"*" * 124), [], 1002),
    "7.5.1 a reason that is no text": (said(1000, BROKEN), [], 1007),
    **{
        f"7.7 code {code}": (said(code), [], code)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    },
    **{
        f"7.9 code {code}": (said(code), [], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    "9.1 a text of the longest kind": (f(T, b"*" * 200_000), ["*" * 200_000], None),
    "9.1 a longer one": (f(T, b"*" * 200_001), [], 1009),
    "9.2 the longest binary message": (f(B, bytes(100_000)), [bytes(100_000)], None),
    "9.2 one that only announces to be longer": (f(B, b"", 1 << 40), [], 1009),
    "9.2 a length that cannot be": (f(B, b"", 1 << 63), [], 1002),
    "9.4 in fragments": (f(BINARY, bytes(60_000)) + f(LAST, bytes(40_000)), [bytes(100_000)], None),
    "9.4 too long in fragments": (f(BINARY, bytes(60_000)) + f(LAST, bytes(40_001)), [], 1009),
    "a length in more bytes than it needs": (b"\x82\xfe\x00\x7d" + bytes(4 + 125), [], 1002),
    "a length in eight for two": (b"\x82\xff" + (65_535).to_bytes(8, "big") + bytes(4 + 65_535), [], 1002),
    "no mask": (raw_frame(T, b"x", masked=False), [], 1002),
}


@pytest.mark.parametrize("step", [1, 7, 10**6], ids=["by byte", "by seven", "at once"])
@pytest.mark.parametrize(("sent", "messages", "code"), AUTOBAHN.values(), ids=AUTOBAHN)
def test_the_cases_of_the_autobahn_suite(sent: bytes, messages: list[str | bytes], code: int | None, step: int) -> None:
    if len(sent) > 1000 and step < 10**6:
        step *= 997
    taker = protocol()
    events = events_of(taker, *cut(sent, [step]))
    ends = [event.code for event in events if isinstance(event, Goodbye | Violation)]

    assert [event for event in events if isinstance(event, str | bytes)] == messages
    assert ends == ([] if code is None else [code])
    assert taker.is_over is (code is not None)
    if code is not None:
        payload = code.to_bytes(2, "big") if code != 1005 else b""
        assert taker.take_answers()[2:4] == payload


UTF8 = {  # 6.5 to 6.23
    True: ["ce ba", "e1 bd b9", "00", "c2 80", "e0 a0 80", "f0 90 80 80", "7f", "df bf", "ef bf bf", "f4 8f bf bf",
           "ed 9f bf", "ee 80 80", "ef bf bd", "ef bf be", "f0 9f bf be"],
    False: ["ce", "e1 bd", "80", "bf 80", "c0", "fe", "ff", "c0 80", "c1 bf", "e0 80 af", "e0 9f bf", "f0 80 80 af",
            "f0 8f bf bf", "f4 90 80 80", "f7 bf bf bf", "f8 88 80 80 80", "fc 84 80 80 80 80", "ed a0 80", "ed bf bf",
            "ed a0 80 ed b0 80"],
}  # fmt: skip


@pytest.mark.parametrize(("valid", "octets"), [(valid, octets) for valid in UTF8 for octets in UTF8[valid]])
def test_text_is_utf8_whole_and_in_fragments(octets: str, *, valid: bool) -> None:
    text = bytes.fromhex(octets)
    pieces = f(TEXT) + b"".join(f(CONTINUATION, bytes([byte])) for byte in text) + f(LAST)
    for sent in (f(T, text), pieces):
        (event,) = events_of(protocol(), sent)
        assert event == (text.decode() if valid else Violation(1007, "text that is not UTF-8"))


WRONG_HEADS = {
    "a data frame of a reserved kind": b"\x83\x85",
    "a control frame of a reserved kind": b"\x8b\x80",
    "a reserved bit": b"\xc1\xff",
    "a control frame that is a fragment": b"\x09\x80",
    "a control frame of 126 bytes": b"\x89\xfe",
    "no mask": b"\x81\x01",
}


@pytest.mark.parametrize("head", WRONG_HEADS.values(), ids=WRONG_HEADS)
def test_what_is_no_frame_is_known_from_its_first_two_bytes(head: bytes) -> None:
    (event,) = events_of(protocol(), head)
    assert isinstance(event, Violation)
    assert event.code == 1002


def test_the_latest_of_many_pings_is_answered_and_none_behind_a_goodbye() -> None:
    taker = protocol()
    events_of(taker, f(P, b"1") + f(P, b"2"))
    assert taker.take_answers() == raw_frame(FIN | PONG, b"2", masked=False)
    assert not taker.has_answers

    events_of(taker, f(P, b"3"))
    taker.goodbye(1000)
    events_of(taker, f(P, b"4"))
    assert not taker.has_answers


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("rates", [OF_A_STRANGER, OF_A_CALL, OF_AN_ASSISTANT])
def test_a_flood_of_pings_or_of_pongs_breaks_the_connection_at_once(opcode: int, rates: FrameRates) -> None:
    taker = protocol(rates=rates)
    taker.feed(f(FIN | opcode) * 10_000)
    now_s, turns = 0.0, 0
    while not isinstance(event := taker.next_event(now_s), Violation):
        now_s, turns = max(now_s, taker.due_s), turns + 1

    assert event.code == 1008
    assert turns <= rates.controls_burst * 2
    assert now_s < 1.0
    assert taker.is_over
    assert close_frame(1008, event.reason.encode(), masked=False) in taker.take_answers()


def test_a_goodbye_is_no_ping_too_many() -> None:
    taker = protocol(rates=OF_A_CALL)
    taker.feed(f(P) * OF_A_CALL.controls_burst + said(1000))
    while (event := taker.next_event(0.0)) is None:
        assert taker.due_s <= 0.0
    assert event == Goodbye(1000)


def test_the_answer_to_a_ping_lies_before_the_answer_to_the_goodbye_behind_it() -> None:
    taker = protocol()
    events_of(taker, f(P, b"1") + said(1001))
    assert taker.take_answers() == raw_frame(FIN | PONG, b"1", masked=False) + close_frame(1001, masked=False)


def test_nothing_is_said_behind_a_goodbye() -> None:
    taker = protocol()
    assert taker.goodbye(1000) == close_frame(1000, masked=False)
    assert taker.goodbye(1001) == b""
    with pytest.raises(LocalProtocolError):
        taker.message("late")
    with pytest.raises(LocalProtocolError):
        taker.ping(b"")
    assert events_of(taker, f(T, b"still heard") + said(1000)) == ["still heard", Goodbye(1000)]
    assert taker.take_answers() == b""


def test_a_few_frames_that_give_nothing_are_taken_at_a_time() -> None:
    taker = protocol()
    taker.feed(f(TEXT) + f(CONTINUATION) * 100 + f(LAST, b"x"))
    turns = 0
    while (event := taker.next_event(0)) is None:
        turns += 1
    assert event == "x"
    assert turns == 102 // FRAMES_PER_TURN


def test_too_fast_a_stranger_is_taken_later_and_an_admitted_one_at_once() -> None:
    taker = protocol(rates=OF_A_STRANGER)
    taker.feed(f(B) * 100)
    taken = 0
    while taker.next_event(0.0) is not None:
        taken += 1
    assert 0 < taken < 20
    assert not taker.is_hungry
    assert 0.0 < taker.due_s < 0.1
    assert taker.next_event(taker.due_s) is not None
    taker.change_rates(OF_A_CALL)
    while taker.next_event(0.0) is not None:
        taken += 1
    assert taken == 99


@pytest.mark.parametrize(
    ("fed", "first", "hungry"),
    [
        (raw_frame(FIN | TEXT, b"all", masked=False), "all", True),
        (raw_frame(FIN | BINARY, b"all", masked=False), b"all", True),
        (raw_frame(FIN | TEXT, b"one", masked=False) * 2, "one", False),
        (raw_frame(FIN | TEXT, b"one", masked=False) + raw_frame(FIN | PONG, masked=False), "one", False),
        (raw_frame(FIN | PONG, b"1", masked=False), Pong(b"1"), False),
        (close_frame(1000, masked=False), Goodbye(1000), False),
        (raw_frame(FIN | TEXT, b"\xff", masked=False), Violation(1007, "text that is not UTF-8"), False),
    ],
)
def test_it_knows_at_once_that_a_message_was_the_last_and_never_takes_another_event_for_one(
    fed: bytes, first: Event, *, hungry: bool
) -> None:
    """Who reads on before it has acted upon a pong or a goodbye may wait for ever."""
    taker = protocol(Side.CLIENT)
    taker.feed(fed)
    assert (taker.next_event(0.0), taker.is_hungry) == (first, hungry)


def test_of_a_long_message_in_small_parts_nothing_stays() -> None:
    taker = protocol()
    sent = f(B, bytes(100_000))
    tracemalloc.start()
    try:
        assert [len(event) for event in events_of(taker, *cut(sent, [1000])) if isinstance(event, bytes)] == [100_000]
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 5_000
