"""What worker processes do with openers: a spawned one imports it from here."""

from __future__ import annotations

from typing import Any

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import StdioOpener, scheme_to_command

__all__ = ["read_by_command", "refusal_of_stdin"]


def refusal_of_stdin(queue: Any) -> None:
    """Put the error of opening standard input."""
    try:
        StdioOpener().open("-")
    except OpenError as error:
        queue.put(str(error))
    else:
        queue.put("no error")


def read_by_command(opener: Opener, url: str, queue: Any) -> None:
    """Put what ``opener`` reads at ``url``, and at a URL whose command is registered here."""
    scheme_to_command["other"] = "echo {url}"
    with opener.open(url) as first, opener.open("other://x") as second:
        queue.put((first.read(), second.read()))
