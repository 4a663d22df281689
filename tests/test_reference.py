"""The reference explains everything that an operator can meet, no more and no fewer, and agrees with the code."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from relay.config import SAMPLE_RATES_HZ, SECTIONS, AssistantKeys, LadderEntry, VapiConfig
from relay.logic.end_reason import EndReason
from relay.metrics import DROP_CAUSES, INVENT_CAUSES, LIMITS, RECONNECT_RESULTS, REFUSAL_CAUSES, Metrics
from relay.probe.twilio import ALERTS
from relay.scenario.script import FORMS
from scripts.make_reference import CONFIG, Key, Secret, read, renewed
from tests.support.reference import BROWSER, FIRST_CALL, REFERENCE, ROOT, SCENARIOS, first_cells, section

NOT_THE_DAEMON = {"standin", "demo", "bench", "probe", "scenario", "vad", "replay", "watch", "cli", "marks.py"}
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "log"}
EVENT = re.compile(r"[a-z]+\.[a-z_]+")
CAPITALS = re.compile(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)*")
MADE_AT_RUN_TIME = {"FULL", "DRAINING"}
"""The reason of a CallRefused, in capitals."""
NO_CODES = {
    *("GET", "HEAD", "POST", "DELETE", "URL"),
    *("HMAC_SHA1", "HMAC_SHA256", "COMMIT", "HQ", "VACUUM", "NFKC", "ORT_DISABLE_TELEMETRY", "OPENBLAS_NUM_THREADS"),
    *("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
    *("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"),
    *("RAW", "ULAW", "ALAW", "PCM_16", "BIG", "LITTLE", "ADPCM", "MP3", "AAC"),
    *("OGG", "VORBIS"),
    *("AIFF", "AMR", "AU", "CAF", "FLAC", "MP4", "ZIP"),
}
"""Capitals that nobody has to look up: HTTP, algorithms, SQL, Unicode, what systemd tells a service, audio formats."""


def daemon_trees() -> Iterator[ast.Module]:
    """The code that runs in the daemon."""
    package = ROOT / "relay"
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] not in NOT_THE_DAEMON:
            yield ast.parse(path.read_text())


def texts(node: ast.AST) -> set[str]:
    """Every text constant in a piece of code."""
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def log_events() -> set[str]:
    """What the loggers of the daemon are called with first, or second behind a level, and the `log_name` of classes."""
    nodes = [node for tree in daemon_trees() for node in ast.walk(tree)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    logged = [part for it in calls if it.func.attr in LOG_METHODS for part in it.args[:2]]  # type: ignore[attr-defined]
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    named = [node.value for node in assigned if ast.unparse(node.targets[0]) == "log_name"]
    return {text for part in (*logged, *named) for text in texts(part) if EVENT.fullmatch(text)}


def keys() -> dict[str, Key]:
    """What config.toml says of each key."""
    return {entry.name: entry for entry in read(CONFIG.read_text()) if isinstance(entry, Key)}


def secrets() -> set[str]:
    """The secrets that config.toml names."""
    return {entry.name for entry in read(CONFIG.read_text()) if isinstance(entry, Secret)}


def defaults() -> dict[str, object]:
    """What the program takes for a key that is left out, in the types of TOML."""
    shapes: dict[str, type[msgspec.Struct]] = {**SECTIONS, "vapi": VapiConfig, "assistants": LadderEntry}
    fields = {f"{table}.{it.name}": it for table, shape in shapes.items() for it in msgspec.structs.fields(shape)}
    for name in AssistantKeys.__struct_fields__:
        del fields[f"assistants.{name}"]  # each is explained once, in [vapi]
    del fields["assistants.name"]  # each entry needs one of its own
    found = {key: msgspec.json.decode(msgspec.json.encode(field.default)) for key, field in fields.items()}
    return found | {"vapi.sample_rate_hz": SAMPLE_RATES_HZ[VapiConfig().audio_format][0]}


def test_every_configuration_key_is_explained() -> None:
    assert set(keys()) == {*defaults(), "assistants.name"}
    assert [key.name for key in keys().values() if not key.meaning] == []


def test_every_key_is_set_in_the_file_except_in_its_example_of_a_list_of_assistants() -> None:
    tables = tomllib.loads(CONFIG.read_text())
    set_there = {f"{table}.{key}" for table, values in tables.items() for key in values}

    assert {key for key in keys() if not key.startswith("assistants.")} == set_there


def test_every_default_in_the_file_is_that_of_the_program() -> None:
    in_the_file = {name: tomllib.loads(f"value = {key.default}")["value"] for name, key in keys().items()}

    assert in_the_file == defaults() | {"assistants.name": "main"}


def test_the_tables_of_the_configuration_are_those_that_make_docs_makes() -> None:
    text = REFERENCE.read_text()

    assert renewed(text, CONFIG.read_text()) == text


def test_every_code_and_every_secret_is_explained() -> None:
    """Every word in capitals in the daemon's code is a code of the reference, or a secret, or known to be neither."""
    capitals = {text for tree in daemon_trees() for text in texts(tree) if CAPITALS.fullmatch(text)}

    assert first_cells("Error codes") | secrets() == (capitals - NO_CODES) | MADE_AT_RUN_TIME


def test_no_word_is_called_no_code_that_the_daemon_does_not_use() -> None:
    assert {text for tree in daemon_trees() for text in texts(tree)} >= NO_CODES


def test_every_code_of_the_client_library_is_explained() -> None:
    web = (ROOT / "relay" / "web").glob("*.js")
    modules = "".join(path.read_text() for path in web if not path.name.startswith("admin"))
    explained = {name for name in first_cells("The library", BROWSER) if name.isupper()}

    assert explained == set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', modules))


def test_every_log_event_is_explained() -> None:
    assert first_cells("Log events") == log_events()


def test_every_name_in_the_first_call_is_one_of_the_program() -> None:
    """Keys and events have the form a.b, codes are in capitals, and Twilio's errors are numbers the probe explains."""
    text = FIRST_CALL.read_text()
    dotted = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", text) if not name.endswith((".toml", ".pem"))}
    capitals = set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)`", text))
    errors = set(re.findall(r"\b(?:11|12|31)\d{3}\b", text))

    assert dotted - set(keys()) - log_events() == set()
    assert capitals - first_cells("Error codes") == set()
    assert errors - set(ALERTS) == set()
    assert (len(dotted) > 10, len(capitals) > 5, len(errors) > 4) == (True, True, True)


def test_every_step_of_a_scenario_and_every_scenario_is_explained() -> None:
    assert first_cells("Steps", SCENARIOS) == set(FORMS)
    assert first_cells("Try it", SCENARIOS) == {file.name for file in (ROOT / "scenarios").glob("*.scenario")}


def test_every_metric_is_explained() -> None:
    series = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in Metrics().registry.collect()
        if metric.name.startswith("relay_")
    }
    explained = {name.partition("{")[0] for name in first_cells("Metrics")} - first_cells("Values")

    assert explained == series


def test_every_limit_has_its_refusal_with_a_code_that_is_explained() -> None:
    title = "What each limit refuses"
    codes = set(re.findall(r"`([A-Z_]+)`", section(title)))

    assert first_cells(title) == {*LIMITS, "max_calls"}
    assert codes <= first_cells("Error codes")


def test_every_reason_cause_and_result_is_explained() -> None:
    assert first_cells("Values") == {*EndReason, *DROP_CAUSES, *INVENT_CAUSES, *RECONNECT_RESULTS, *REFUSAL_CAUSES}


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda it: it.name
)
def test_a_time_behind_a_key_is_its_default(document: Path) -> None:
    named = re.findall(r"`([a-z_]+\.[a-z_]+)` \(([\d.]+) (s|ms)\)", document.read_text())
    known = defaults()

    assert [it for it in named if not it[0].endswith(f"_{it[2]}") or known[it[0]] != float(it[1])] == []
