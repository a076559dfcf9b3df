"""The command line: ``webds``, also ``python -m webds``.

A module for each command says what its arguments are, calls `webds.tools`, and prints. Nothing else imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from webds.errors import MissingExtraError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status.

    Args:
        arguments: what follows the name of the program; by default those of the process.

    Returns:
        0 if all is well; 1 if the data, or the work, has faults; 2 for wrong usage; 130 for Ctrl-C; 141 where
        nobody reads what it writes any more; 143 if it was asked to end.
    """
    try:
        import click  # noqa: PLC0415  # it is an extra
        import rich  # noqa: PLC0415
    except ImportError as error:
        reason = MissingExtraError.of(error.name or "click", "cli", "the command line")
        sys.stderr.write(f"webds: {reason.message}\n")
        return 1
    del click, rich
    from webds.cli.running import run  # noqa: PLC0415  # it needs both

    return run(sys.argv[1:] if arguments is None else arguments)
