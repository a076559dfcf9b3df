"""A page to where it belongs: whole or not at all, and in place of nothing but an older one."""

from __future__ import annotations

import os
from typing import Final

from webds.abc import Opener
from webds.errors import WriteError
from webds.openers import default_opener
from webds.openers.schemes import OpenerLike, as_opener
from webds.sinks.targets import FileTarget, OpenedTarget, Target, is_device, refuse_existing
from webds.tools.report.page import GENERATOR
from webds.urls import local_path

__all__ = ["check_output", "write_report"]

_HEAD: Final = 512


def check_output(url: str, *, overwrite: bool = False) -> None:
    """Refuse a place for a report, before any work is done for it.

    Args:
        url: a path, or another URL, of which nothing is known beforehand.
        overwrite: whether a file that is there may be replaced, whatever it is.

    Raises:
        WriteError: there is something, and it is no report.
        OpenError: there is no directory to hold it.
    """
    path = local_path(url)
    if path is None or is_device(path):
        return
    replaceable = overwrite or _is_report(path)
    if os.path.isfile(path) and not replaceable:
        raise WriteError(f"{path!r} exists, and is no report; overwrite=True replaces it", url=url, stage="write")
    refuse_existing(path, overwrite=replaceable)


def write_report(page: str, url: str, *, overwrite: bool = False, opener: OpenerLike | None = None) -> None:
    """Write a page.

    Args:
        page: what `render` returned.
        url: a path, ``-`` for standard output, or what ``opener`` can write to. An older report is replaced.
        overwrite: whether any other file is.
        opener: opens what is no path.

    Raises:
        WriteError: there is something else already.
        OpenError: it cannot be written.
    """
    check_output(url, overwrite=overwrite)
    target = _target(url, default_opener() if opener is None else as_opener(opener))
    try:
        target.write(page.encode())
        target.commit()
    except BaseException:
        target.discard()
        raise


def _target(url: str, opener: Opener) -> Target:
    path = local_path(url)
    if path is None or is_device(path):
        return OpenedTarget(opener.open(url, "wb"))
    return FileTarget(path, overwrite=True)


def _is_report(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return GENERATOR.encode() in file.read(_HEAD)
    except OSError:
        return False
