"""Indexes of shards: where in them each member lies, how many samples they hold."""

from webds.index.build import ScannedShard, scan
from webds.index.files import index_path, manifest_lock, merge_manifest, remove_temporaries, replace_file
from webds.index.ranges import RangeStream
from webds.index.table import MemberTable, TableBuilder, parse_table

__all__ = [
    "MemberTable",
    "RangeStream",
    "ScannedShard",
    "TableBuilder",
    "index_path",
    "manifest_lock",
    "merge_manifest",
    "parse_table",
    "remove_temporaries",
    "replace_file",
    "scan",
]
