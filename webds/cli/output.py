"""What is printed: texts out of files, sizes, tables, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console

from webds.cli.errors import one_line
from webds.tools.texts import size_text

__all__ = ["console", "counted", "note", "print_json", "print_table", "shown", "size_text"]


def counted(number: int, thing: str) -> str:
    """Return a number with its thing: ``1 shard``, ``2,000 shards``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def shown(text: str) -> str:
    """Return a text that came out of a file so that it takes one line, and no terminal obeys it."""
    if text.isprintable() and text.strip() == text:
        return text
    return one_line(text) if text.strip() == text else one_line(repr(text))


def console(*, stderr: bool = False) -> Console:
    """Return a console that shows texts as they are: no markup, no highlights, no line breaks but those given."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def note(text: str) -> None:
    """Print a line about the work to standard error."""
    click.echo(text, err=True)


def print_json(value: Any, *, line: bool = False) -> None:
    """Print a value as JSON: one document, or one line of many."""
    text = json.dumps(value, ensure_ascii=False, indent=None if line else 2, default=str)
    # Names that are no UTF-8 are surrogates here; JSON has an escape for these.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print rows with their columns below one another, two spaces apart; what is printed to a pipe is the same.

    Args:
        heads: names of the columns.
        rows: texts of one line each.
        right: columns, by number, whose texts end below one another.
    """
    ends = frozenset(right)
    lines = [list(heads), *map(list, rows)]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        cells = [
            (" " * (widths[i] - cell_len(cell)) + cell) if i in ends else cell + " " * (widths[i] - cell_len(cell))
            for i, cell in enumerate(line)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
