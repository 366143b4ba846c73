"""The report as one HTML file that needs no other file and no network."""

from fastser.report.html.page import write_html

__all__ = ["write_html"]
