"""Health, readiness and metrics, over real HTTP."""

import re

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from relay import __version__
from relay.config import LimitsConfig
from relay.daemon.monitoring import RENDERINGS_BURST, RENDERINGS_PER_S
from relay.errors import AssistantUnavailable
from tests.support.callrig import TONE, make_late
from tests.support.frontrig import OTHER_SID, SID, FrontRig, front_config, open_front
from tests.support.reference import first_cells


async def dial_fails(rig: FrontRig, sid: str) -> None:
    rig.inner.failure = AssistantUnavailable("no", "VAPI_UNREACHABLE", retriable=True)
    await rig.token(sid)
    await rig.until_over(sid)


async def test_health_says_what_runs() -> None:
    async with open_front() as rig:
        await rig.token()
        body = (await rig.http.get("/health")).json()

        assert body["status"] == "ok"
        assert body["activeSessions"] == 1
        assert body["bufferSize"] == 0
        assert body["refusal_cause"] is None
        assert body["version"] == __version__
        assert body["uptime_s"] >= 0


async def test_health_and_readiness_while_draining() -> None:
    async with open_front() as rig:
        await rig.calls.drain(0)
        health, ready = await rig.http.get("/health"), await rig.http.get("/ready")

        assert (health.status_code, health.json()["status"]) == (200, "draining")
        assert (ready.status_code, ready.json()["reason"], ready.json()["code"]) == (503, "draining", "NOT_READY")


async def test_ready_until_every_place_is_taken() -> None:
    async with open_front(front_config(limits=LimitsConfig(max_calls=1))) as rig:
        before = await rig.http.get("/ready")
        await rig.token()
        after = await rig.http.get("/ready")

        assert (before.status_code, before.json()) == (200, {"ready": True})
        assert (after.status_code, after.json()["reason"]) == (503, "full")


async def test_full_while_the_event_loop_is_late() -> None:
    async with open_front() as rig:
        await rig.token()
        make_late(rig.calls)
        health, ready = await rig.http.get("/health"), await rig.http.get("/ready")

        assert (health.json()["status"], health.json()["refusal_cause"]) == ("ok", "late")
        assert (ready.status_code, ready.json()["reason"], ready.json()["cause"]) == (503, "full", "late")
        assert "late" in ready.json()["error"]


async def test_not_ready_and_degraded_after_a_dial_that_failed_until_one_works() -> None:
    async with open_front() as rig:
        await dial_fails(rig, SID)
        failed, health = await rig.http.get("/ready"), await rig.http.get("/health")
        rig.inner.failure = None
        await rig.token(OTHER_SID)
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        again = await rig.http.get("/ready")

        assert (failed.status_code, failed.json()["reason"]) == (503, "assistants")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert again.status_code == 200


async def test_metrics_are_prometheus_text_of_this_relay() -> None:
    async with open_front() as rig:
        await rig.token()
        await trio.sleep(0.05)
        answer = await rig.http.get("/metrics")

        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert re.search(r"^relay_calls_active 1\.0$", answer.text, re.MULTILINE)


async def test_what_is_scraped_has_every_series_of_the_reference_and_no_other() -> None:
    async with open_front() as rig:
        families = list(text_string_to_metric_families((await rig.http.get("/metrics")).text))
    scraped = {it.name + "_total" * (it.type == "counter") for it in families if it.name.startswith("relay_")}
    explained = {name.partition("{")[0] for name in first_cells("Metrics")} - first_cells("Values")

    assert scraped == explained


async def test_what_waits_to_be_played_is_told_by_health_and_metrics() -> None:
    async with open_front() as rig:
        await rig.token()
        with trio.fail_after(20):
            await rig.inner.connected.wait()
        for _ in range(25):
            rig.inner.peers[0].send(TONE)
        await trio.sleep(0.1)
        health = (await rig.http.get("/health")).json()
        metrics = (await rig.http.get("/metrics")).text

        assert health["bufferSize"] > 0
        assert re.search(r"^relay_playout_buffer_seconds 0\.[1-9]", metrics, re.MULTILINE)


async def test_who_asks_for_metrics_without_end_has_them_a_second_old_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_front() as rig:
        rendered_at = []
        render = rig.context.metrics.render

        def noting() -> bytes:
            rendered_at.append(trio.current_time())
            return render()

        monkeypatch.setattr(rig.context.metrics, "render", noting)
        began_at, answers = trio.current_time(), []
        while trio.current_time() < began_at + 1.5:
            answers.append((await rig.http.get("/metrics")).text)
            await trio.sleep(0.01)

    took_s = rendered_at[-1] - began_at
    assert RENDERINGS_BURST < len(rendered_at) <= RENDERINGS_BURST + took_s * RENDERINGS_PER_S
    assert all("relay_calls_active" in answer for answer in answers)
    assert len(answers) > len(rendered_at)
