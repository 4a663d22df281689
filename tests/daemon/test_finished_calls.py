"""The endpoints for calls that are over: which there were, what was wrong, and the end of a recording."""

import errno
import os
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from relay.config import RecordConfig
from relay.daemon import finished_calls, report_process
from relay.logic.end_reason import EndReason
from tests.support.frontrig import ADMIN_TOKEN, front_config, open_front
from tests.support.recorded import files_in
from tests.support.recordings_of_calls import attached, ended, header, told, write_recording

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
REQUESTS = [("GET", "/calls/finished"), ("GET", "/calls/one/verdict"), ("DELETE", "/calls/one/recording")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of two calls; the first went on in a second process."""
    lost = told(2.0, "assistant.lost", error="no pong", close_code=None)
    back = told(3.0, "assistant.reconnected", gap_ms=1000.0, replayed_ms=0, dropped_ms=0, attempt=1)
    for number, name in enumerate(("one", "one-2", "two")):
        path = tmp_path / f"{name}.relay"
        write_recording(path, [attached(), lost, back, ended(4.0)], header(name.partition("-")[0]))
        os.utime(path, (1_000_000 + number, 1_000_000 + number))
    return tmp_path


@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize(
    ("token", "status", "code"), [(None, 404, "NOT_FOUND"), (ADMIN_TOKEN, 401, "ADMIN_TOKEN_NEEDED")]
)
async def test_they_are_for_the_operator_only(
    asked: tuple[str, str], token: str | None, status: int, code: str, folder: Path
) -> None:
    config = front_config({"admin_token": token}, record=RecordConfig(dir=str(folder)))
    async with open_front(config) as rig:
        answer = await rig.http.request(*asked, headers={"Authorization": "Bearer guess"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(files_in(folder)) == 3


async def test_calls_that_ended_here_and_those_that_were_recorded_are_listed_the_newest_first(folder: Path) -> None:
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        live, over = rig.calls.answer("CA-live"), rig.calls.answer("CA-over")
        for call in (live, over):
            write_recording(folder / f"{call.id}.relay", [], header(call.id))
        over.finish(EndReason.ADMIN)
        await rig.until_over("CA-over")
        listed = (await rig.http.get("/calls/finished", headers=ADMIN)).json()["calls"]

    assert [call["id"] for call in listed] == [over.id, "two", "one"]
    assert listed[0] == {
        "id": over.id,
        "call_sid": "CA-over",
        "ended_at": listed[0]["ended_at"],
        "duration_s": listed[0]["duration_s"],
        "end_reason": "admin",
        "assistant_ended_reason": None,
        "assistant_cost_usd": None,
        "recorded": True,
    }
    unknown = dict.fromkeys(("call_sid", "duration_s", "end_reason", "assistant_ended_reason", "assistant_cost_usd"))
    assert listed[2] == {"id": "one", **unknown, "ended_at": "1970-01-12T13:46:41Z", "recorded": True}


async def test_only_so_many_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_calls, "FINISHED_MAX", 1)
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        listed = (await rig.http.get("/calls/finished", headers=ADMIN)).json()["calls"]

    assert [call["id"] for call in listed] == ["two"]


async def test_without_a_folder_nothing_was_recorded(tmp_path: Path) -> None:
    async with open_front(front_config(record=RecordConfig(dir=str(tmp_path / "none")))) as rig:
        assert (await rig.http.get("/calls/finished", headers=ADMIN)).json() == {"calls": []}
        for method, path in REQUESTS[1:]:
            answer = await rig.http.request(method, path, headers=ADMIN)
            assert (answer.status_code, answer.json()["code"]) == (404, "RECORDING_NOT_FOUND")


async def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with open_front(front_config(record=RecordConfig(dir=str(tmp_path / "file")))) as rig:
        for method, path in REQUESTS:
            answer = await rig.http.request(method, path, headers=ADMIN)
            assert (answer.status_code, answer.json()["code"]) == (503, "RECORDINGS_UNREADABLE")


async def test_the_verdict_is_that_of_the_report_over_all_recordings_of_the_call(folder: Path) -> None:
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        answer = await rig.http.get("/calls/one/verdict", headers=ADMIN)

    assert answer.status_code == 200
    assert len(answer.json()["reconnects"]) == 2
    assert answer.json()["verdict"][0].startswith("At 00:02.0 the assistant was away for 1.0 s")


async def test_a_recording_that_cannot_be_read_has_no_verdict_and_the_log_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "one.relay").write_bytes(b"RIFF")
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        answer = await rig.http.get("/calls/one/verdict", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "REPORT_FAILED")
    assert "no recording of a call" in capsys.readouterr().out


async def never(*_: object) -> NoReturn:
    await trio.sleep_forever()


async def no_process(*_: object) -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, "no more processes")


@pytest.mark.parametrize(("run", "why"), [(never, "it took longer than 0.05 s"), (no_process, "no more processes")])
async def test_a_verdict_that_takes_too_long_or_has_no_process_is_given_up(
    run: object, why: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report_process, "run_report", run)
    monkeypatch.setattr(finished_calls, "MAKE_S", 0.05)
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        answer = await rig.http.get("/calls/one/verdict", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "REPORT_FAILED")
    assert why in capsys.readouterr().out


async def test_only_so_many_verdicts_are_made_or_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_process, "REQUESTS_MAX", 0)
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        answer = await rig.http.get("/calls/one/verdict", headers=ADMIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "BUSY")


async def test_who_goes_away_ends_what_is_made_for_them(folder: Path) -> None:
    """The first verdict would take for ever; then the second has its turn."""
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        begun = trio.Event()

        async def stuck(*_: object) -> NoReturn:
            begun.set()
            await trio.sleep_forever()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report_process, "run_report", stuck)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(rig.http.get, "/calls/one/verdict", headers=ADMIN))
                await begun.wait()
                nursery.cancel_scope.cancel()
        answer = await rig.http.get("/calls/two/verdict", headers=ADMIN)

    assert answer.status_code == 200


async def test_a_recording_is_erased_whole_and_its_end_is_logged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        erased = await rig.http.delete("/calls/one/recording", headers=ADMIN)
        again = await rig.http.delete("/calls/one/recording", headers=ADMIN)

    assert (erased.status_code, erased.json()) == (200, {"id": "one", "erased": ["one-2.relay", "one.relay"]})
    assert (again.status_code, again.json()["code"]) == (404, "RECORDING_NOT_FOUND")
    assert [path.name for path in files_in(folder)] == ["two.relay"]
    assert "record.erased" in capsys.readouterr().out


@pytest.mark.parametrize("call_id", ["..", "%2e%2e%2ftwo", "*", "two.relay", "two-2"])
async def test_what_is_no_id_of_a_call_erases_nothing(call_id: str, folder: Path) -> None:
    async with open_front(front_config(record=RecordConfig(dir=str(folder)))) as rig:
        answer = await rig.http.delete(f"/calls/{call_id}/recording", headers=ADMIN)

    assert answer.status_code == 404
    assert len(files_in(folder)) == 3
