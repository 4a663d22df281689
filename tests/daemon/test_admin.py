"""The admin endpoints: nothing without a token, and what runs with it."""

import pytest

from relay import __version__
from relay.config import LimitsConfig
from tests.support.frontrig import ADMIN_TOKEN, SID, front_config, open_front

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
UNKNOWN = "0" * 32
REQUESTS = [("GET", "/calls"), ("GET", f"/calls/{UNKNOWN}"), ("DELETE", f"/calls/{UNKNOWN}")]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.parametrize("headers", [{}, ADMIN, {"Authorization": "Bearer None"}])
async def test_without_a_configured_token_there_is_nothing(method: str, path: str, headers: dict[str, str]) -> None:
    async with open_front(front_config({"admin_token": None})) as rig:
        answer = await rig.http.request(method, path, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer guess", f"Basic {ADMIN_TOKEN}", ADMIN_TOKEN, "Bearer \xfc"]
)
async def test_a_wrong_token_is_a_401_and_counted(method: str, path: str, value: str | None) -> None:
    async with open_front() as rig:
        headers = {} if value is None else {b"Authorization": value.encode("latin-1")}
        answer = await rig.http.request(method, path, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (401, "ADMIN_TOKEN_NEEDED")
        assert rig.metric("relay_auth_rejected_total", endpoint="/calls") == 1


async def test_a_call_is_listed_shown_and_ended() -> None:
    async with open_front() as rig:
        await rig.token()
        listed = (await rig.http.get("/calls", headers=ADMIN)).json()["calls"]
        call_id = listed[0]["id"]
        shown = await rig.http.get(f"/calls/{call_id}", headers=ADMIN)
        ended = await rig.http.delete(f"/calls/{call_id}", headers=ADMIN)
        await rig.until_over()

        assert [call["call_sid"] for call in listed] == [SID]
        assert shown.json()["id"] == call_id
        assert (ended.status_code, ended.json()) == (202, {"id": call_id, "status": "ending"})
        assert rig.metric("relay_calls_total", end_reason="admin") == 1
        after = (await rig.http.get("/calls", headers=ADMIN)).json()
        assert after["calls"] == []
        assert after["relay"]["calls_begun"] == 1


async def test_the_list_says_how_the_relay_itself_is_doing() -> None:
    async with open_front(front_config(limits=LimitsConfig(max_calls=1))) as rig:
        rig.calls.answer("CA1")
        rig.calls.note_loop_lag(0.1)
        relay = (await rig.http.get("/calls", headers=ADMIN)).json()["relay"]

    assert relay == {
        "version": __version__,
        "uptime_s": relay["uptime_s"],
        "max_calls": 1,
        "calls_begun": 1,
        "refusal_cause": "max_calls",
        "loop_lag_ms": 3.0,
    }


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_call_is_a_404(method: str) -> None:
    async with open_front() as rig:
        answer = await rig.http.request(method, f"/calls/{UNKNOWN}", headers=ADMIN)

        assert (answer.status_code, answer.json()["code"]) == (404, "CALL_NOT_FOUND")
