"""The loopback gives every byte back once, in order and at its time."""

from hypothesis import given
from hypothesis import strategies as st

from relay.media.frames import WIDEBAND
from relay.standin.assistant.chunks import Chunks
from relay.standin.assistant.loopback import Loopback

ARRIVALS = st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=700)), max_size=30)


@given(ARRIVALS)
def test_every_byte_comes_back_once_in_order_when_it_is_60_ms_old(arrivals: list[tuple[int, bytes]]) -> None:
    loop = Loopback(Chunks(WIDEBAND, "irregular", seed=1), delay_ms=60)
    now_ms, sent, out = 0, b"", b""
    at_ms: list[int] = []
    for pause_ms, data in arrivals:
        now_ms += pause_ms
        loop.hear(data, now_ms / 1000)
        sent += data
        at_ms += [now_ms] * len(data)
        out += b"".join(loop.due(now_ms / 1000 + 1e-9))
        assert out == sent[: sum(at + 60 <= now_ms for at in at_ms)]
    assert out + b"".join(loop.due(now_ms / 1000 + 0.061)) == sent
