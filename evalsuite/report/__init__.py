"""Pages out of runs on disk. Knows runs, not models or engines."""

from evalsuite.report.history import refresh_history, write_history
from evalsuite.report.html import build_report
from evalsuite.report.update import update_gate

__all__ = ["build_report", "refresh_history", "update_gate", "write_history"]
