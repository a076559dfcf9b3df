from __future__ import annotations

import json
import os
from pathlib import Path

from commands import here, webds as run
from objectstores import S3Server
from shards import numbered_shards
from webserver import serving
from work import leftovers


def test_shards_are_copied_verified_and_kept(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3)
    outcome = run("cp", "shard-*.tar", "out/", "-j", "2", "--verify", "hash", cwd=tmp_path)
    size = sum(map(os.path.getsize, urls))
    assert (outcome.status, outcome.out) == (0, b"")
    assert outcome.err == f"3 files copied, {size / 1000:.1f} kB\n"
    assert [(tmp_path / "out" / os.path.basename(url)).read_bytes() for url in urls] == [
        Path(url).read_bytes() for url in urls
    ]
    (tmp_path / "out" / "shard-000001.tar").unlink()
    again = run("cp", "shard-*.tar", "out/", "--json", cwd=tmp_path)
    assert json.loads(again.text) == {"files": 1, "size": os.path.getsize(urls[1]), "kept": 2}
    (tmp_path / "out" / "shard-000002.tar").write_bytes(b"other")
    refused = run("cp", "shard-*.tar", "out/", cwd=tmp_path)
    assert refused.status == 1
    assert refused.err == "webds: 'out/shard-000002.tar' exists with another content; --overwrite replaces it\n"
    assert (tmp_path / "out" / "shard-000002.tar").read_bytes() == b"other"
    assert leftovers(tmp_path) == [".folder.job"]
    assert run("cp", "shard-*.tar", "out/", "--overwrite", cwd=tmp_path).status == 0
    assert leftovers(tmp_path) == []


def test_pipes_a_remote_shard_and_one_that_is_not_there(tmp_path: Path) -> None:
    body = Path(numbered_shards(tmp_path, 1)[0]).read_bytes()
    with serving() as web:
        web.routes["/x.tar"] = body
        outcome = here("cp", web.url("/x.tar"), "-")
        assert (outcome.status, outcome.out) == (0, body)
        outcome = here("cp", web.url("/gone.tar"), f"{tmp_path}/y.tar")
        assert (outcome.status, outcome.out) == (1, b"")
        assert outcome.err.startswith(f"webds: {web.url('/gone.tar')}: ")
        assert "404" in outcome.err
    assert not (tmp_path / "y.tar").exists()
    outcome = here("cp", "-", f"{tmp_path}/z.tar", stdin=body)
    assert outcome.status == 0
    assert (tmp_path / "z.tar").read_bytes() == body
    assert leftovers(tmp_path) == []


def test_to_a_store_by_the_environment(tmp_path: Path, s3: S3Server) -> None:
    bucket = s3.bucket()
    numbered_shards(tmp_path, 2)
    environment = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "x",
                   "AWS_REGION": "us-east-1"}  # fmt: skip
    outcome = run("cp", "shard-*.tar", f"s3://{bucket}/data/", cwd=tmp_path, env=environment)
    assert (outcome.status, s3.keys(bucket)) == (0, ["data/shard-000000.tar", "data/shard-000001.tar"])


def test_several_shards_do_not_fit_one_name(tmp_path: Path) -> None:
    numbered_shards(tmp_path, 2)
    outcome = here("cp", "shard-*.tar", "one.tar", cwd=tmp_path)
    assert outcome.status == 2
    assert "2 shards are not written to 'one.tar' alone" in outcome.err
    outcome = here("cp", "shard-*.tar", "-", "--json", cwd=tmp_path)
    assert outcome.status == 2
