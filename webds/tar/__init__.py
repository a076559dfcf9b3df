"""Tar archives: their members, and the samples that these make up."""

from webds.tar.members import Member, Members, MissingEnd, read_files, read_members
from webds.tar.naming import base_plus_ext, by_extension, is_metadata
from webds.tar.samples import Duplicates, ReadStats, read_samples

__all__ = [
    "Duplicates",
    "Member",
    "Members",
    "MissingEnd",
    "ReadStats",
    "base_plus_ext",
    "by_extension",
    "is_metadata",
    "read_files",
    "read_members",
    "read_samples",
]
