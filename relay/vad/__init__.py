"""Runs recordings through the speech detector of calls: its decisions, how good they are, what a quiet room needs.

Files go in; tables and JSON come out. Pictures are drawn by `relay.vad.plot`, which not every installation can import.
"""

from relay.vad.analysis import RecordingAnalysis, analyse, as_json
from relay.vad.benchmark import Collection, Evaluation, collect, evaluate, evaluate_decisions
from relay.vad.calibration import Calibration, calibrate
from relay.vad.decisions import read_decisions, write_cases
from relay.vad.tables import tables

__all__ = [
    "Calibration",
    "Collection",
    "Evaluation",
    "RecordingAnalysis",
    "analyse",
    "as_json",
    "calibrate",
    "collect",
    "evaluate",
    "evaluate_decisions",
    "read_decisions",
    "tables",
    "write_cases",
]
