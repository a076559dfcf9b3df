from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from objectstores import S3Server

from webds.abc import Opener
from webds.errors import OpenError, WriteError
from webds.openers import SchemeOpener, default_opener
from webds.tools.jobs import job_url, running


def do(
    target: str,
    parameters: object = 0,
    *,
    there: Callable[[], list[str]] = list,
    overwrite: bool = False,
    refuses: bool = True,
    opener: Opener | None = None,
    fail: BaseException | None = None,
    has_begun: bool = False,
) -> bool:
    """Do some work; return whether it was taken up again."""
    with running(
        target,
        "test",
        {"parameters": parameters},
        opener=opener or default_opener(),
        existing=there,
        overwrite=overwrite,
        refuses=refuses,
    ) as job:
        job.has_begun = has_begun
        if fail is not None:
            raise fail
        return job.resumed


@pytest.fixture
def target(tmp_path: Path) -> str:
    return str(tmp_path / "x-%06d.tar")


def begun(target: str, parameters: object = 0, made: bool = True, opener: Opener | None = None) -> list[str]:
    """Begin work that is broken off, after something was made."""
    made_names: list[str] = []

    def work() -> None:
        with running(
            target,
            "test",
            {"parameters": parameters},
            opener=opener or default_opener(),
            existing=lambda: made_names,
            overwrite=False,
        ):
            if made:
                made_names.append("made.tar")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    return made_names


def test_work_that_ends_leaves_no_note(target: str) -> None:
    assert do(target) is False
    assert not os.path.exists(job_url(target))
    assert do(target) is False


def test_work_that_was_broken_off_is_taken_up_again_if_it_is_the_same(target: str) -> None:
    made = begun(target)
    assert os.path.exists(job_url(target))
    assert do(target, there=lambda: made) is True
    assert not os.path.exists(job_url(target))


def test_nothing_is_left_where_there_is_nothing_to_go_on_from(target: str) -> None:
    begun(target, made=False)
    assert not os.path.exists(job_url(target))
    with pytest.raises(KeyboardInterrupt):
        do(target, fail=KeyboardInterrupt(), has_begun=True)
    assert os.path.exists(job_url(target))
    assert do(target) is True
    with pytest.raises(ZeroDivisionError):
        do(target, fail=ZeroDivisionError(), has_begun=True)
    assert not os.path.exists(job_url(target))


def test_other_work_is_refused_and_may_begin_anew(target: str) -> None:
    made = begun(target)
    with pytest.raises(WriteError, match=r"broken off .* other arguments"):
        do(target, 1, there=lambda: made)
    assert do(target, 1, there=lambda: made, overwrite=True) is False


def test_other_work_begins_where_nothing_was_made(target: str) -> None:
    begun(target)
    assert do(target, 1) is False


def test_files_of_others_are_refused_and_no_note_is_left(target: str) -> None:
    with pytest.raises(WriteError, match=r"'a\.tar' exists; overwrite=True"):
        do(target, there=lambda: ["a.tar"])
    with pytest.raises(WriteError, match=r"2 files exist, 'a\.tar' is the first"):
        do(target, there=lambda: ["a.tar", "b.tar"])
    assert not os.path.exists(job_url(target))
    assert do(target, there=lambda: ["a.tar"], refuses=False) is False


def test_what_replaced_files_is_not_taken_up_again(target: str) -> None:
    """Nobody could tell which of the files are the new ones."""
    with pytest.raises(KeyboardInterrupt):
        do(target, there=lambda: ["a.tar"], overwrite=True, fail=KeyboardInterrupt())
    with pytest.raises(WriteError, match="was replacing files"):
        do(target, there=lambda: ["a.tar"])
    assert do(target, there=lambda: ["a.tar"], refuses=False) is False


def test_two_are_not_at_work_in_one_place(target: str) -> None:
    with (
        running(target, "test", {}, opener=default_opener(), existing=list, overwrite=False),
        pytest.raises(WriteError, match="somebody else is at work here"),
    ):
        do(target)
    assert do(target) is False


def test_a_note_that_was_cut_short_counts_for_nothing(target: str) -> None:
    Path(job_url(target)).write_text('{"webds": "te')
    assert do(target) is False


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match="No such file or directory"):
        do(str(tmp_path / "gone" / "x.tar"))


def test_streams_have_no_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert do("-") is False
    assert do("pipe:cat > x.tar") is False
    assert not list(tmp_path.iterdir())


def test_notes_in_a_store(s3: S3Server) -> None:
    opener = SchemeOpener().with_opener("s3", s3.opener())
    bucket = s3.bucket()
    target = f"s3://{bucket}/data/x-%06d.tar"
    made = begun(target, opener=s3.opener())
    assert s3.keys(bucket) == ["data/.x-%06d.tar.job"]
    with pytest.raises(WriteError, match="other arguments"):
        do(target, 1, there=lambda: made, opener=opener.opener_of(target))
    assert do(target, there=lambda: made, opener=opener.opener_of(target)) is True
    assert s3.keys(bucket) == []
