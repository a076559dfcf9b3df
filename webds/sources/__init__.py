"""Where samples come from."""

from webds.sources.indexed import IndexedTarSource, SampleInfo
from webds.sources.memory import MemorySource
from webds.sources.tar import MemberSource, TarShards, TarSource

__all__ = ["IndexedTarSource", "MemberSource", "MemorySource", "SampleInfo", "TarShards", "TarSource"]
