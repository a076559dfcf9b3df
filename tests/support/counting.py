"""An opener that counts."""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO, Literal

import attrs
from typing_extensions import override

from webds.abc import Opener

__all__ = ["CountingOpener"]


@attrs.frozen
class CountingOpener(Opener):
    """Opens files, and counts how often each is opened."""

    opened: Counter[str] = attrs.field(factory=Counter[str])

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        self.opened[url] += 1
        return open(url, "rb")
