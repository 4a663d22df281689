"""GET /calls/{id}/report: a page for who has the token, of calls that live and that are over, and nothing else."""

import errno
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from relay.config import RecordConfig
from relay.daemon import call_report, report_process
from relay.record.entries import Recorded
from relay.record.page import page_parts
from tests.support.browserrig import start_polling
from tests.support.frontrig import ADMIN_TOKEN, FrontRig, front_config, open_front
from tests.support.recorded import files_in
from tests.support.recordings_of_calls import attached, ended, header, sent, spoken, write_recording

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@asynccontextmanager
async def front(folder: Path, **secrets: str | None) -> AsyncIterator[FrontRig]:
    config = front_config(secrets, record=RecordConfig(mode="all", dir=str(folder)))
    async with open_front(config) as rig:
        yield rig


def recorded(folder: Path, call_id: str = "one") -> Path:
    entries: list[Recorded] = [attached(), *spoken(0.0, 100), *sent(0.5, 5), ended(2.0)]
    return write_recording(folder / f"{call_id}.relay", entries, header(call_id))


def is_worked_on(folder: Path) -> bool:
    """A process has a file of this folder among its arguments."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if bytes(folder) in (process / "cmdline").read_bytes():
                return True
    return False


async def test_the_timeline_of_a_finished_call_is_a_page_with_its_policy(tmp_path: Path) -> None:
    recorded(tmp_path)
    async with front(tmp_path) as rig:
        answer = await rig.http.get("/calls/one/report", headers=ADMIN)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == f"{page_parts().sources}; frame-ancestors 'none'"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.startswith("<!doctype html>")
    assert '"id":"one"' in answer.text


async def test_of_a_live_call_there_is_what_was_recorded_so_far(tmp_path: Path) -> None:
    async with front(tmp_path) as rig:
        poller = await start_polling(rig)
        await poller.until("state")
        call_id = poller.ready["sessionId"]
        with trio.fail_after(20):
            while not files_in(tmp_path):  # noqa: ASYNC110 - the recorder writes when it does
                await trio.sleep(0.05)
        answer = await rig.http.get(f"/calls/{call_id}/report", headers=ADMIN)

    assert answer.status_code == 200
    assert '"is_live":true' in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_without_the_token_there_is_nothing(method: str, tmp_path: Path) -> None:
    recorded(tmp_path)
    async with front(tmp_path) as rig:
        wrong = await rig.http.request(method, "/calls/one/report", headers={"Authorization": "Bearer guess"})
        right = await rig.http.head("/calls/one/report", headers=ADMIN)
    async with front(tmp_path, admin_token=None) as rig:
        none = await rig.http.request(method, "/calls/one/report", headers=ADMIN)

    assert (wrong.status_code, right.status_code, none.status_code) == (401, 200, 404)


@pytest.mark.parametrize("call_id", ["two", "..", "one.relay", "%2e%2e%2fone"])
async def test_a_call_without_a_recording_is_a_404(call_id: str, tmp_path: Path) -> None:
    recorded(tmp_path)
    async with front(tmp_path / "none" if call_id == "two" else tmp_path) as rig:
        answer = await rig.http.get(f"/calls/{call_id}/report", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"] in {"RECORDING_NOT_FOUND", "NOT_FOUND"}) == (404, True)


async def test_a_file_that_holds_nothing_whole_yet_is_told_in_the_log(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    path.write_bytes(path.read_bytes()[:20])
    with capture_logs() as logged:
        async with front(tmp_path) as rig:
            answer = await rig.http.get("/calls/one/report", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "REPORT_FAILED")
    assert [str(path) in line["error"] for line in logged if line["event"] == "report.failed"] == [True]


async def test_a_report_that_takes_too_long_is_given_up_and_its_process_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path)
    monkeypatch.setattr(call_report, "MAKE_S", 0.01)
    with capture_logs() as logged:
        async with front(tmp_path) as rig:
            answer = await rig.http.get("/calls/one/report", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "REPORT_FAILED")
    assert [line["error"] for line in logged if line["event"] == "report.failed"] == ["it took longer than 0.01 s"]
    assert not is_worked_on(tmp_path)


async def test_a_report_that_fails_is_told_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path)
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho no memory >&2\nexit 1\n")
    failing.chmod(0o700)
    with capture_logs() as logged:
        async with front(tmp_path) as rig:
            monkeypatch.setattr(sys, "executable", str(failing))
            answer = await rig.http.get("/calls/one/report", headers=ADMIN)

    assert answer.status_code == 503
    assert [line["error"] for line in logged if line["event"] == "report.failed"] == ["no memory"]


async def test_a_machine_that_can_have_no_process_is_told_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_process(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    recorded(tmp_path)
    monkeypatch.setattr(report_process, "run_report", no_process)
    with capture_logs() as logged:
        async with front(tmp_path) as rig:
            answer = await rig.http.get("/calls/one/report", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "REPORT_FAILED")
    assert ["no more processes" in line["error"] for line in logged if line["event"] == "report.failed"] == [True]


async def test_more_than_a_few_at_a_time_are_refused_and_all_others_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path)
    monkeypatch.setattr(report_process, "REQUESTS_MAX", 2)
    found: list[int] = []
    async with front(tmp_path) as rig, trio.open_nursery() as nursery:

        async def ask() -> None:
            found.append((await rig.http.get("/calls/one/report", headers=ADMIN)).status_code)

        for _ in range(3):
            nursery.start_soon(ask)

    assert sorted(found) == [200, 200, 503]
