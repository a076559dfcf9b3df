"""Shards in Ray Data: read as datasets of a cluster, and written by it.

It is imported by its name, ``import webds.ray``, and needs the extra ``ray``. The commands of ``webds`` and their
functions in `webds.tools` run on a cluster by `webds.tools.rayengine.RayEngine`.
"""

from webds.errors import MissingExtraError

try:
    import ray.data as _ray_data
except ImportError as _error:
    raise MissingExtraError.of(_error.name or "ray", "ray", "webds.ray") from _error

from webds.ray.reading import read_shards
from webds.ray.writing import write_shards

__all__ = ["read_shards", "write_shards"]

del _ray_data
