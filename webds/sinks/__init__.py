"""Sinks: samples to shards."""

from webds.sinks.shardwriter import ShardWriter
from webds.sinks.tarwriter import TarWriter

__all__ = ["ShardWriter", "TarWriter"]
