"""A page about shards: what they hold, what is wrong with them, and a few of their samples to look at.

`gather` reads the shards and returns a `Report`, plain facts; `render` makes a page of it, one file of HTML that asks
nobody for anything; `write_report` puts that where it belongs.
"""

from webds.tools.report.facts import Report
from webds.tools.report.gathering import ReportOptions, gather
from webds.tools.report.page import render
from webds.tools.report.writing import check_output, write_report

__all__ = ["Report", "ReportOptions", "check_output", "gather", "render", "write_report"]
