"""Bodies that come slowly have few places, and who has shown a signature has its own; over real connections."""

from contextlib import AsyncExitStack

import pytest
import trio

from relay.net import asgi_request
from tests.support.browserrig import start_polling
from tests.support.clients import ONE, OTHER, WEBHOOK, answer_of, first_answer, front, limited, named, slow_body
from tests.support.frontrig import ringing

BODIES = [WEBHOOK, ["POST /client HTTP/1.1"], ["POST /webhook/audio HTTP/1.1"], ["POST /client/token HTTP/1.1"]]


async def test_the_webhooks_of_all_calls_may_be_slow_at_once_from_an_address_that_has_shown_twilios_signature() -> None:
    async with front(slow_bodies=1, slow_bodies_per_address=1, max_calls=2) as rig, AsyncExitStack() as stack:
        assert (await rig.post("/twilio/voice", ringing(), headers=named(ONE))).status_code == 200
        assert (await rig.post("/twilio/voice", ringing(), sign=False, headers=named(OTHER))).status_code == 403
        slow = [await stack.enter_async_context(await slow_body(rig, ONE, WEBHOOK)) for _ in range(3)]
        await trio.sleep(asgi_request.PROMPT_S + 0.2)
        assert limited(rig) == {}

        one_more = await stack.enter_async_context(await slow_body(rig, ONE, WEBHOOK))
        assert await first_answer([*slow, one_more]) == (429, "TOO_MANY_AT_ONCE")
        others = [await stack.enter_async_context(await slow_body(rig, OTHER, WEBHOOK)) for _ in range(2)]
        assert await first_answer(others) == (429, "TOO_MANY_AT_ONCE")


@pytest.mark.parametrize("lines", BODIES[:3], ids=lambda lines: lines[0].split()[1])
async def test_slow_bodies_have_few_places_whatever_they_are_for(lines: list[str]) -> None:
    async with front(slow_bodies=3, slow_bodies_per_address=2) as rig, AsyncExitStack() as stack:
        one = [await stack.enter_async_context(await slow_body(rig, ONE, lines)) for _ in range(3)]
        assert await first_answer(one) == (429, "TOO_MANY_AT_ONCE")
        other = [await stack.enter_async_context(await slow_body(rig, OTHER, lines)) for _ in range(2)]
        assert await first_answer(other) == (503, "BUSY")
        assert limited(rig) == {"slow_bodies_per_address": 1, "slow_bodies": 1}


async def test_a_body_that_comes_at_once_needs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with front(slow_bodies=1, slow_bodies_per_address=1) as rig, await slow_body(rig, ONE, WEBHOOK):
        await trio.sleep(asgi_request.PROMPT_S + 0.1)
        posted = await rig.post("/twilio/voice", ringing(), headers=named(ONE))
        uploaded = await rig.http.post("/webhook/audio", content=bytes(640), headers=named(ONE))

        assert (posted.status_code, uploaded.status_code) == (200, 200)
        assert limited(rig) == {}


async def test_what_is_left_of_a_body_that_nobody_wants_needs_a_place_too() -> None:
    """/client/token answers without its body, and reads on so that the client sees the answer."""
    async with front(slow_bodies=1, slow_bodies_per_address=1) as rig:
        async with await slow_body(rig, ONE, BODIES[3]), await slow_body(rig, ONE, BODIES[3]) as second:
            assert await answer_of(second) == (401, "CLIENT_KEY_NEEDED")
        assert limited(rig) == {"slow_bodies_per_address": 1}


async def test_the_slow_bodies_of_a_session_take_no_place_from_strangers() -> None:
    async with front(slow_bodies=1, slow_bodies_per_address=1) as rig, AsyncExitStack() as stack:
        ready = (await start_polling(rig)).ready
        path, bearer = f"/client/{ready['sessionId']}", f"Authorization: Bearer {ready['token']}"
        upload = f"/webhook/audio?session={ready['sessionId']}"
        stranger = await stack.enter_async_context(await slow_body(rig, ONE, BODIES[1]))
        for target in (f"{path}/audio", f"{path}/messages", upload, upload):
            lines = [f"POST {target} HTTP/1.1", bearer]
            await stack.enter_async_context(await slow_body(rig, ONE, lines))
        await trio.sleep(asgi_request.PROMPT_S + 0.2)
        assert limited(rig) == {}

        one_more = await stack.enter_async_context(await slow_body(rig, ONE, [f"POST {path}/audio HTTP/1.1", bearer]))
        assert await answer_of(one_more) == (429, "TOO_MANY_AT_ONCE")
        await stranger.aclose()
