"""The rules for Prometheus and the dashboard for Grafana ask for what the relay has, and lead to what is to be done."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.frontrig import open_front
from tests.support.reference import DOCS, section
from tests.test_documents import anchors

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES, STORIES = PROMETHEUS / "relay.rules.yml", PROMETHEUS / "relay.test.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "relay.json"

OF_PROMETHEUS = {"up", "ALERTS"}
SERIES = re.compile(r"\b(up|ALERTS|relay_\w+|process_\w+)(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\brelay:\w+:\w+")
MATCHER = re.compile(r'(\w+)(?:=~|!=|=)"([^"]*)"')
OF_THE_TARGET = {"job", "instance", "le"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def stories() -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = yaml.safe_load(STORIES.read_text())["tests"]
    return told


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Everything that is computed from the relay's series, or stands for one of them."""
    yield from (rule["expr"] for rule in rules())
    yield from (one["series"] for story in stories() for one in story["input_series"])
    yield from shown()


def shown() -> list[str]:
    """What the dashboard asks Prometheus for, with its variables filled in."""
    board = dashboard()
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in board["annotations"]["list"]]
    filled = {"$__rate_interval": "5m", "$__range": "3h", "$job": "relay", "$instance": ".*"}
    for variable, value in filled.items():
        asked = [expression.replace(variable, value) for expression in asked]
    return asked


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.skip("promtool not installed: Debian has it in the package prometheus")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", PROMETHEUS / "prometheus.yml"), ("check", "rules", RULES), ("test", "rules", STORIES)],
    ids=["configuration", "rules", "stories"],
)
def test_prometheus_takes_the_files_and_each_story_fires_what_it_says(arguments: tuple[str | Path, ...]) -> None:
    done = promtool(*arguments)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_in_a_story_and_none_while_all_is_well() -> None:
    fired = {story["name"]: story["promql_expr_test"][0]["exp_samples"] for story in stories()}
    named = {name for samples in fired.values() for one in samples for name in re.findall(r'"(\w+)"', one["labels"])}

    assert named == {alert["alert"] for alert in alerts()}
    assert fired["all is well"] == []
    assert len(fired) == len(stories())


async def scraped() -> dict[str, dict[str, set[str]]]:
    """Every series that a relay answers with, and the values of its labels."""
    async with open_front() as rig:
        text = (await rig.http.get("/metrics")).text
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found[sample.name]
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


async def test_every_series_that_is_asked_for_is_one_that_the_relay_has_with_these_labels() -> None:
    found = await scraped()
    asked = {one for expression in expressions() for one in SERIES.findall(expression) if one[0] not in OF_PROMETHEUS}
    unknown = [
        (name, label, value)
        for name, matchers in asked
        for label, wanted in MATCHER.findall(matchers) or [("le", "")]
        for value in wanted.split("|")
        if name not in found or (label not in OF_THE_TARGET and value not in found[name].get(label, set()))
    ]

    assert unknown == []
    assert len({name for name, _ in asked}) > 30


def test_every_series_that_is_recorded_is_one_of_the_rules() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    assert {name for expression in expressions() for name in RECORDED.findall(expression)} == recorded


def test_every_alert_says_what_happened_how_much_it_matters_and_where_the_way_out_stands() -> None:
    lost = [
        alert["alert"]
        for alert in alerts()
        if alert["labels"] not in ({"severity": "page"}, {"severity": "ticket"})
        or not alert["annotations"]["summary"].endswith((".", "?"))
        or not alert["annotations"]["runbook"].startswith("docs/operate.md#")
        or alert["annotations"]["runbook"].partition("#")[2] not in anchors(DOCS / "operate.md")
    ]

    assert lost == []


def test_the_documents_list_the_alerts_as_they_are() -> None:
    """Each with its severity and the same place to read on."""
    rows = re.findall(
        r"^\| `(\w+)` \| (page|ticket) \| .*\]\((#[\w-]+)\).* \|$", section("Alarms", DOCS / "operate.md"), re.MULTILINE
    )

    assert rows == [
        (alert["alert"], alert["labels"]["severity"], alert["annotations"]["runbook"].removeprefix("docs/operate.md"))
        for alert in alerts()
    ]


def test_prometheus_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    rows = [{"record": f"shown:{number}", "expr": expression} for number, expression in enumerate(shown())]
    (tmp_path / "shown.yml").write_text(yaml.safe_dump({"groups": [{"name": "shown", "rules": rows}]}))
    done = promtool("check", "rules", "--lint=none", tmp_path / "shown.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not [expression for expression in shown() if "$" in expression]


def test_every_panel_has_a_unit_a_description_a_place_and_asks_the_chosen_source() -> None:
    board = dashboard()
    variables = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}

    assert board["schemaVersion"] >= 36
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }

        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "s", "bytes", "percentunit"}, panel["title"]
        assert panel["description"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
