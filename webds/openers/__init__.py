"""Openers: URLs to binary streams, one class for each kind of place."""

from webds.openers.cache import CachingOpener
from webds.openers.command import CommandOpener
from webds.openers.file import FileOpener
from webds.openers.fsspec import FsspecOpener
from webds.openers.functions import FunctionOpener
from webds.openers.http import HttpOpener
from webds.openers.objectstore import ObjectStoreOpener
from webds.openers.pipe import PipeOpener
from webds.openers.schemes import (
    OpenerLike,
    SchemeOpener,
    as_opener,
    default_opener,
    gopen,
    local_path,
    reader,
    scheme_of,
    scheme_to_command,
)
from webds.openers.stdio import StdioOpener

__all__ = [
    "CachingOpener",
    "CommandOpener",
    "FileOpener",
    "FsspecOpener",
    "FunctionOpener",
    "HttpOpener",
    "ObjectStoreOpener",
    "OpenerLike",
    "PipeOpener",
    "SchemeOpener",
    "StdioOpener",
    "as_opener",
    "default_opener",
    "gopen",
    "local_path",
    "reader",
    "scheme_of",
    "scheme_to_command",
]
