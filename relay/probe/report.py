"""The report of a probe: a table for people, one JSON object for programs, and the configuration that follows."""

import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from relay.probe.finding import Finding, Value, config_that_follows
from relay.redaction import Redactor


class ProbeReport:
    """The findings of one service. Whatever is shown has passed the redactor."""

    def __init__(
        self,
        service: str,
        findings: Sequence[Finding],
        given: Mapping[str, Value],
        redactor: Redactor,
        *,
        ladder_entry: bool = False,
    ) -> None:
        self._service = service
        self._findings = findings
        self._redactor = redactor
        self._config = config_that_follows(findings, given, ladder_entry=ladder_entry)

    @property
    def failed(self) -> bool:
        """Whether something could not be measured, or keeps calls from working."""
        return any(finding.answer.failed for finding in self._findings)

    def as_json(self) -> str:
        """The object of `--json`."""
        told = {
            "service": self._service,
            "findings": [finding.as_json() for finding in self._findings],
            "config": self._config,
        }
        return self._redactor.text(json.dumps(told, ensure_ascii=False))

    def show(self, console: Console) -> None:
        """Print the table; below it what failed, in lines that can be copied whole, and the configuration."""
        table = Table(expand=True)
        for heading in ("question", "expected", "found", "setting"):
            table.add_column(heading, ratio=1, overflow="fold")
        for finding in self._findings:
            style = "bold red" if finding.answer.failed else ""
            cells = finding.as_json().values()
            table.add_row(*(Text(self._redactor.text(cell), style) for cell in cells))
        console.print(table)
        if failed := [finding for finding in self._findings if finding.answer.failed]:
            lines = [f"{it.question}\n  {it.answer.found}\n  {it.setting}" for it in failed]
            console.print(Text("\nWhat failed:\n\n" + self._redactor.text("\n".join(lines))), soft_wrap=True)
        console.print(Text("\nThe configuration that follows:\n\n" + self._redactor.text(self._config)), soft_wrap=True)
