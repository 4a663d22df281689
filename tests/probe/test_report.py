"""The report: the table, the JSON object, and that neither shows a secret."""

import io
import json

import pytest
from rich.console import Console

from relay.probe.finding import Answer, Finding
from relay.probe.report import ProbeReport
from relay.redaction import Redactor

SECRET = "wss://assistant.example.com/0123456789abcdef0123/transport"


def report(*answers: Answer, redactor: Redactor | None = None) -> ProbeReport:
    findings = [Finding("Is it so?", "not so", answer) for answer in answers]
    return ProbeReport("vapi", findings, {"vapi.assistant_id": "a"}, redactor or Redactor())


def shown(it: ProbeReport, width: int = 160) -> str:
    out = io.StringIO()
    it.show(Console(file=out, width=width))
    return out.getvalue()


def test_the_object_has_the_findings_and_the_configuration() -> None:
    told = json.loads(report(Answer(found="so", keys={"jitter.target_ms": 240})).as_json())

    assert told == {
        "service": "vapi",
        "findings": [
            {"question": "Is it so?", "expected": "not so", "found": "so", "setting": "jitter.target_ms = 240"}
        ],
        "config": '[vapi]\nassistant_id = "a"\n[jitter]\ntarget_ms = 240',
    }


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_configuration_is_printed_as_it_is_whatever_the_width(width: int) -> None:
    long = "x" * 100
    text = shown(ProbeReport("vapi", [], {"vapi.assistant_id": long}, Redactor()), width)

    assert f'[vapi]\nassistant_id = "{long}"\n' in text


def test_what_failed_stands_below_in_lines_that_can_be_copied() -> None:
    long = "https://relay.example.com/" + "x" * 100
    failed = Answer(found=f"GET {long}", note=f"enter {long}", failed=True)
    text = shown(report(Answer(found="so"), failed), 80)

    assert f"What failed:\n\nIs it so?\n  GET {long}\n  enter {long}\n" in text
    assert "What failed" not in shown(report(Answer(found="so")))


def test_the_table_shows_every_cell() -> None:
    text = shown(report(Answer(found="it is [bold]so", note="do nothing")))

    assert all(cell in text for cell in ("Is it so?", "not so", "it is [bold]so", "do nothing"))


def test_no_secret_is_shown_in_any_form() -> None:
    it = report(Answer(found=f"so at {SECRET}", note=SECRET), redactor=Redactor({SECRET}))

    assert "0123456789abcdef" not in it.as_json() + shown(it)


def test_one_failure_fails_the_report() -> None:
    assert not report(Answer(found="so")).failed
    assert report(Answer(found="so"), Answer(found="late", failed=True)).failed
