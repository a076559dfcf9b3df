"""Settings and fixtures for all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, and no test that depends on how busy the machine is. For others, and more of them:
# pytest --hypothesis-profile=explore
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("same")


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect garbage after the test.

    An exception that torch raises again for a worker refers to itself, and so keeps the loader's iterator and its
    workers alive. If a worker of the next test, a fork, collected that, it would shut down what is not its own.
    """
    yield
    gc.collect()
