#!/usr/bin/env python3
"""Say what pip-audit has found out about the locked packages.

`make audit` gives its report, which is JSON, on standard input, and names the file that has its log.
Ends with 0 if all were compared with the published advisories and nothing is known against any, with 1 if something is,
and with 3 if some could not be compared, as without a network: then it is not said that they are good.
"""

import json
import sys
from typing import Any

GOOD, KNOWN, NOT_COMPARED = 0, 1, 3


def verdict(report: str) -> tuple[int, list[str]]:
    """Return the exit status and the lines to print. `report` is empty, or broken, where pip-audit gave up."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        packages = []
    if not packages:
        return NOT_COMPARED, ["audit: no package could be compared with the advisories"]
    lines = [
        f"audit: {package['name']} {package['version']}: {found['id']}, {_mended(found['fix_versions'])}"
        for package in packages
        for found in package.get("vulns", ())
    ]
    skipped = sorted(package["name"] for package in packages if "vulns" not in package)
    status = KNOWN if lines else NOT_COMPARED if skipped else GOOD
    if skipped:
        some = ", ".join(skipped[:3]) + (" and others" if len(skipped) > 3 else "")
        lines.append(f"audit: {len(skipped)} of {len(packages)} packages could not be compared: {some}")
    return status, lines or [f"audit: nothing is known against the {len(packages)} locked packages"]


def _mended(versions: list[str]) -> str:
    return f"mended in {', '.join(versions)}" if versions else "not mended yet"


if __name__ == "__main__":
    exit_status, told = verdict(sys.stdin.read())
    print("\n".join(told))
    if exit_status == NOT_COMPARED:
        print(f"audit: {sys.argv[1]} may say why")
    sys.exit(exit_status)
