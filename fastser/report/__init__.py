"""From finished trainings to tables, figure and page."""

from fastser.report.context import ReportContext
from fastser.report.page import write_report

__all__ = ["ReportContext", "write_report"]
