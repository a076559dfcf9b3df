"""Settings for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from objectstores import S3Server

# Test modules, as processes that are spawned import them. At the end of the path: an installed webds comes before
# that of the checkout.
sys.path.append(str(Path(__file__).parents[1]))

# The same examples each time, and no test that depends on how busy the machine is. For others, and more of them:
# pytest --hypothesis-profile=explore
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("same")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server, in a process of its own."""
    from objectstores import serving_s3

    with serving_s3() as server:
        yield server
