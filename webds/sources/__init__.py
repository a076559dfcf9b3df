"""Where samples come from."""

from webds.sources.memory import MemorySource
from webds.sources.tar import MemberSource, TarShards, TarSource

__all__ = ["MemberSource", "MemorySource", "TarShards", "TarSource"]
