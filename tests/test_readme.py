"""The README names everything an operator can meet: each key, log event and metric, no more and no fewer."""

import ast
import re
from pathlib import Path

from relay.config import SECTIONS, AssistantKeys, LadderEntry, VapiConfig
from relay.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "log"}
EVENT = re.compile(r"[a-z]+\.[a-z_]+")


def log_events() -> set[str]:
    """The events of a call, and the first arguments of the calls of a logger anywhere in the daemon."""
    events = set()
    for path in (ROOT / "relay").rglob("*.py"):
        if not {"standin", "demo", "bench", "vad"} & set(path.parts):
            events |= {event for event in _events(ast.parse(path.read_text())) if EVENT.fullmatch(event)}
    return events


def _events(tree: ast.AST) -> set[str]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    named = [argument for call in calls if call.func.attr in LOG_METHODS for argument in call.args[:2]]  # type: ignore[attr-defined]
    named += [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name) and target.id == "log_name"
    ]
    return {name.value for name in named if isinstance(name, ast.Constant) and isinstance(name.value, str)}


def section(title: str) -> str:
    """The README's text under a heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {title!r}"
    return found[1]


def test_every_configuration_key_is_explained() -> None:
    keys = {f"{name}.{field}" for name, shape in SECTIONS.items() for field in shape.__struct_fields__}
    keys |= {f"vapi.{field}" for field in VapiConfig.__struct_fields__}
    keys |= {
        f"assistants.{field}" for field in set(LadderEntry.__struct_fields__) - set(AssistantKeys.__struct_fields__)
    }

    assert set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", section("Configuration"), re.MULTILINE)) == keys


def test_every_log_event_is_explained() -> None:
    assert set(re.findall(r"`([a-z]+\.[a-z_]+)`", section("Log events"))) == log_events()


def test_every_metric_is_explained() -> None:
    series = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in Metrics().registry.collect()
        if metric.name.startswith("relay_")
    }

    assert set(re.findall(r"`(relay_[a-z_]+)", section("Metrics"))) == series
