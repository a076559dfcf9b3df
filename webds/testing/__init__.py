"""Test suites, one for each contract of `webds.abc`, for whoever subclasses one.

A test class inherits the suite and says how its class is made; pytest does the rest::

    from webds.testing import OpenerSuite


    class TestMyOpener(OpenerSuite):
        def make_opener(self):
            return MyOpener()

        def url_of(self, folder, content):
            (folder / "data").write_bytes(content)
            return f"my:{folder}/data"

        def missing_url(self, folder):
            return f"my:{folder}/nothing"

What a test says when it fails is the sentence of the contract that was broken. The suites are abstract:
pytest does not run them by themselves, and a subclass that forgets a hook is an error where it is defined. This package
needs pytest; nothing of webds imports it.
"""

from webds.testing.codecs import CodecSuite, DecoderSuite, EncoderSuite
from webds.testing.comparison import same, same_form
from webds.testing.openers import OpenerSuite
from webds.testing.sinks import SinkSuite
from webds.testing.sources import IndexedSourceSuite, SourceSuite
from webds.testing.splitters import SplitterSuite
from webds.testing.suite import Suite

__all__ = [
    "CodecSuite",
    "DecoderSuite",
    "EncoderSuite",
    "IndexedSourceSuite",
    "OpenerSuite",
    "SinkSuite",
    "SourceSuite",
    "SplitterSuite",
    "Suite",
    "same",
    "same_form",
]
