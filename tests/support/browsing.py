"""Pages in a real browser."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

__all__ = ["Watched", "launched", "watched"]

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE: Final = 60_000


@contextlib.contextmanager
def launched() -> Generator[Browser]:
    """Start the chromium of the system; where there is none, skip the test."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        pytest.skip("no chromium here, such as apt-get install chromium brings")
    options = ["--disable-dev-shm-usage"]  # containers have little shared memory
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # root has none
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options, timeout=_PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


@attrs.define
class Watched:
    """A page, and what it did that nobody asked for.

    Attributes:
        page: the page.
        said: console messages, errors and dialogs.
        asked: URLs that it asked for, but for its own and ``data:``.
    """

    page: Page
    said: list[str] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)


@contextlib.contextmanager
def watched(browser: Browser, path: Path, width: int = 1280, **options: Any) -> Generator[Watched]:
    """Open a page in a window of its own."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    context.set_default_timeout(_PATIENCE)
    found = Watched(context.new_page())
    page = found.page
    page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: _dismiss(found, dialog))
    url = path.as_uri()
    page.on("request", lambda request: _note(found, request.url, url))
    page.goto(url)
    try:
        yield found
    finally:
        context.close()


def _dismiss(found: Watched, dialog: Dialog) -> None:
    found.said.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def _note(found: Watched, asked: str, own: str) -> None:
    if asked != own and not asked.startswith("data:"):
        found.asked.append(asked)
