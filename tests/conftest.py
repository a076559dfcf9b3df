"""Settings for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from cloudstores import AzureStore, CloudStore, GoogleStore
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


@pytest.fixture(scope="session")
def google(s3: S3Server) -> Iterator[GoogleStore]:
    """A store that speaks the protocol of Google Cloud Storage."""
    from cloudstores import GoogleStore, google_head
    from objectstores import proxying

    with proxying(s3.port, google_head) as proxy:
        yield GoogleStore(proxy.port, s3)


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureStore]:
    """A store that speaks the protocol of Azure Blob Storage."""
    from cloudstores import azurite, serving_azure

    program = azurite()
    if program is None:
        pytest.skip("needs Azurite: npm install --global azurite")
    with serving_azure(program, tmp_path_factory.mktemp("azurite")) as store:
        yield store


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """The address of a Ray cluster of two processors."""
    from rays import serving_ray

    with serving_ray() as address:
        yield address


@pytest.fixture(scope="module")
def local_ray(ray_address: str) -> Iterator[ModuleType]:
    """The module ``ray``, connected to the cluster; not for longer, as other tests fork this process."""
    from rays import connected

    with connected(ray_address) as ray:
        yield ray


@pytest.fixture(params=["google", "azure"])
def cloud(request: pytest.FixtureRequest) -> CloudStore:
    """Each of these two."""
    store: CloudStore = request.getfixturevalue(request.param)
    return store
