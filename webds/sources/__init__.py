"""Where samples come from."""

from webds.sources.memory import MemorySource
from webds.sources.tar import TarSource

__all__ = ["MemorySource", "TarSource"]
