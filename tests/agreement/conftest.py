"""Shows at the end of the report how much was compared with the vendors' own libraries, and what they do not cover."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.agreement import PROPERTY, Note

NOT_COVERED = (
    "Vapi: status-update as a message on the socket, and the id of toAssistant in transfer-update, have no type",
    "Vapi: lengths and ranges are in no type: 40 characters of a name, 10 to 43200 s of a call",
    "Twilio: messages of Media Streams have no type",
)


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Adds to the figures."""
    return lambda what, compared, more="": record_property(PROPERTY, (what, compared, more))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    compared: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == PROPERTY:
                what, count, more = value
                compared[what, more] += count
    if compared:
        terminalreporter.section("agreement with the vendors' libraries")
        for (what, more), count in sorted(compared.items()):
            terminalreporter.write_line(f"{count:6} {what}" + (f": {more}" if more else ""))
        for line in NOT_COVERED:
            terminalreporter.write_line(f"not covered: {line}")
