"""10: an object store that fails is asked again, within bounds; each sample comes once, or an error names the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from objectstores import Fault, Proxy, S3Server, proxying
from shards import sample_of, tar_bytes

import webds
from webds.errors import OpenError, WebdsError

SAMPLES = [sample_of(number) for number in range(8)]
KEYS = [sample["__key__"] for sample in SAMPLES]
SHARD = tar_bytes((f"{s['__key__']}.{field}", s[field].encode()) for s in SAMPLES for field in ("cls", "txt"))


@pytest.fixture(scope="module")
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with proxying(s3.port) as running:
        yield running


@pytest.fixture(scope="module")
def url(s3: S3Server) -> str:
    return s3.put(f"s3://{s3.bucket()}/x.tar", SHARD)


def keys(s3: S3Server, proxy: Proxy, url: str, faults: list[Fault], **options: Any) -> list[str]:
    proxy.faults = list(faults)
    proxy.asked.clear()
    opener = s3.opener(proxy.port, **options)
    return [sample["__key__"] for sample in webds.DatasetBuilder([url], opener=opener).build()]


@pytest.mark.parametrize("kind", ["drop", "reset"])
def test_10_a_drop_at_any_byte_of_an_object_costs_nothing(s3: S3Server, proxy: Proxy, url: str, kind: str) -> None:
    for k in (0, 1, 511, 512, 513, 1024, 5000, len(SHARD) - 1):
        # The first answer is taken whole or not at all, and what has come of the second is kept.
        assert keys(s3, proxy, url, [Fault(kind, k)] * 2) == KEYS, k
        assert len(proxy.asked) == 3
        if kind == "drop" and k > 0:
            assert f"range: bytes={k}-\r\n" in proxy.asked[2]
            assert "if-match: " in proxy.asked[2]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_10_a_store_that_is_busy_is_asked_again(s3: S3Server, proxy: Proxy, url: str, status: int) -> None:
    assert keys(s3, proxy, url, [Fault("status", status)] * 4) == KEYS
    assert len(proxy.asked) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_10_another_refusal_is_an_error_at_once(s3: S3Server, proxy: Proxy, url: str, status: int) -> None:
    with pytest.raises(OpenError, match=str(status)) as caught:
        keys(s3, proxy, url, [Fault("status", status)] * 9)
    assert caught.value.url == url
    assert len(proxy.asked) == 1


def test_10_a_store_that_stalls_is_asked_again(s3: S3Server, proxy: Proxy, url: str) -> None:
    assert keys(s3, proxy, url, [Fault("stall", 3000)] * 2, timeout=0.3) == KEYS


def test_10_an_object_that_changed_is_never_spliced(s3: S3Server, proxy: Proxy) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x.tar", SHARD)
    other = SHARD + bytes(512)
    faults = [Fault("drop", 3000), Fault("drop", 3000), Fault("pass", call=lambda: s3.put(url, other))]
    got: list[str] = []
    proxy.faults = list(faults)
    with pytest.raises(OpenError, match=r"the object changed while it was read: .*after 3000 bytes"):
        got.extend(sample["__key__"] for sample in webds.DatasetBuilder([url], opener=s3.opener(proxy.port)).build())
    assert got == KEYS[: len(got)]


_FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(["drop", "reset"]), st.integers(0, len(SHARD))),
    st.builds(Fault, st.just("status"), st.sampled_from([429, 500, 503, 403])),
    st.just(Fault("refuse")),
    st.just(Fault("call")),
)


@hypothesis_settings(max_examples=60)
@given(st.lists(_FAULTS, max_size=7))
def test_10_any_sequence_of_faults_of_a_store_gives_the_shard_or_an_error(s3: S3Server, faults: list[Fault]) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x.tar", SHARD)
    other = tar_bytes([("other.txt", bytes(len(SHARD) // 2))])

    def change() -> None:
        s3.put(url, other)

    got: list[str] = []
    with proxying(s3.port) as proxy:
        proxy.faults = [Fault("pass", call=change) if fault.kind == "call" else fault for fault in faults]
        builder = webds.DatasetBuilder([url], opener=s3.opener(proxy.port))
        try:
            for sample in builder.build():
                got.append(sample["__key__"])
                if sample["__key__"] in KEYS:
                    fields = {field: value.encode() for field, value in SAMPLES[len(got) - 1].items()}
                    assert sample == {**fields, "__key__": KEYS[len(got) - 1]}
        except WebdsError as error:
            failed: WebdsError | None = error
        else:
            failed = None
    changed = any(fault.kind == "call" for fault in faults)
    if failed is None:
        assert got in (KEYS, ["other"]), "one version, whole"
        assert got == KEYS or changed
    else:
        assert got == KEYS[: len(got)], "what came before the error is whole, and in order"
        assert failed.url == url
        assert changed or Fault("status", 403) in faults or len(faults) >= 5
