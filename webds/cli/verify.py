"""``webds verify``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Final

import attrs
import click

from webds.cli import arguments
from webds.cli.errors import Status
from webds.cli.output import counted, note, print_json, shown, size_text
from webds.cli.progress import progress
from webds.index import index_path
from webds.redaction import redact
from webds.sources.tar import TarSource
from webds.tools.reading import source_of
from webds.tools.repairing import Repaired, repair_shard
from webds.tools.verifying import Problem, Verified, verify_shards
from webds.urls import local_path

__all__ = ["command"]

_SHOWN: Final = 20

_HELP: Final = """
Verify SHARDS: say what is wrong with each.

Looked at are the structure of the archive to its end; whether members make whole samples (no field twice, no key that
comes back); where a manifest says a size, a hash (MD5 or SHA-256) or a count, whether it is so; whether an index
(.idx), if there is one, tells of the same members; and, with --decode, whether every value can be decoded, as
.decode() would do it. Pickles are not: they run code. Only headers are read, unless there are hashes, or with
--decode.

A line for each shard: "ok" or "BAD", and below it what is wrong. The exit status is 1 if anything is.

--repair writes for each bad shard a new one of its name into FOLDER, with the samples that are whole beyond doubt, and
says on standard output what was lost. The shard itself is left alone. Behind damage it goes on at the next good
header; the samples on either side of a gap are lost, since what was in it may have been theirs. Members of one sample
that are apart are put together; of a field that is there twice, one is kept if both are equal. The new shard is never
compressed.

With --json, a line for each shard.

\b
Examples:
  webds verify 'train-{000000..000146}.tar'
  webds verify --decode -j 8 'train-*.tar'
  webds verify https://example.org/train.json
  webds verify --decode --repair mended/ 'train-*.tar'
"""


@click.command("verify", help=_HELP)
@arguments.urls()
@click.option("--decode", is_flag=True, help="Decode every value.")
@click.option(
    "--hash/--no-hash", "hashes", default=True, help="Compare the hashes that a manifest says; by default yes."
)
@click.option(
    "--repair",
    "folder",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Write what can be saved of bad shards into this folder, which is made if need be.",
)
@arguments.overwrite
@click.option("-q", "--quiet", is_flag=True, help="Print bad shards only.")
@click.option("--all", "everything", is_flag=True, help=f"Print all problems of a shard, not only the first {_SHOWN}.")
@arguments.missing_end
@arguments.jobs
@arguments.as_json
@click.pass_context
def command(
    context: click.Context,
    urls: list[str],
    decode: bool,
    hashes: bool,
    folder: str | None,
    overwrite: bool,
    quiet: bool,
    everything: bool,
    missing_end: arguments.End,
    jobs: int,
    as_json: bool,
) -> None:
    """Verify shards."""
    source = source_of(urls, missing_end=missing_end)
    targets = {} if folder is None else _targets(source, folder)
    bad = samples = shards = 0
    undecoded: dict[str, str] = {}
    with (
        progress() as bar,
        contextlib.closing(verify_shards(source, decode=decode, hashes=hashes, jobs=jobs, progress=bar)) as all_found,
    ):
        for found in all_found:
            shards += 1
            samples += found.samples
            bad += found.count > 0
            undecoded.update(found.undecoded)
            repaired = None
            if folder is not None and any(
                problem.kind in ("structure", "sample", "decode") for problem in found.problems
            ):
                os.makedirs(folder, exist_ok=True)
                repaired = repair_shard(source, found.url, targets[found.url], decode=decode, overwrite=overwrite)
            if as_json:
                print_json(_as_json(found, repaired), line=True)
            elif found.count or not quiet:
                _print(found, None if everything else _SHOWN)
                if repaired is not None:
                    _print_repaired(found, repaired)
            sys.stdout.flush()
    for field, reason in sorted(undecoded.items()):
        note(f"webds: not decoded: {shown(field)}: {shown(reason)}")
    note(f"{counted(shards, 'shard')}, {counted(samples, 'sample')}; {f'{bad:,} bad' if bad else 'all good'}")
    if bad:
        context.exit(Status.FAULTS)


def _targets(source: TarSource, folder: str) -> dict[str, str]:
    """Return where the repaired one of each shard is to be."""
    targets: dict[str, str] = {}
    for url in source.shards():
        if url == "-":
            raise click.UsageError("--repair reads a shard twice: put what comes from standard input into a file")
        path = local_path(url)
        base = url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2] if path is None else path
        name = os.path.basename(index_path(base).removesuffix(".idx")) + ".tar"
        targets[url] = os.path.join(folder, name)
    if len(set(targets.values())) < len(targets):
        raise click.UsageError("several of these shards have the same name: repair them apart")
    return targets


def _print(found: Verified, most: int | None) -> None:
    state = "BAD" if found.count else "ok "
    more = [text for text, there in (("hash compared", found.hashed), ("index compared", found.indexed)) if there]
    if found.passed_over:
        more.append(f"{counted(found.passed_over, 'member')} without a key")
    told = "".join(f", {text}" for text in more)
    sys.stdout.write(
        f"{state} {shown(redact(found.url))}: {counted(found.samples, 'sample')}, {size_text(found.bytes)}{told}\n"
    )
    for problem in found.problems[:most]:
        sys.stdout.write(f"    {problem.kind}: {_where(problem)}{shown(problem.text)}\n")
    left = found.count - len(found.problems[:most])
    if left:
        sys.stdout.write(f"    … and {left:,} more\n")


def _where(problem: Problem) -> str:
    parts: list[str] = []
    if problem.key is not None and repr(problem.key) not in problem.text:
        parts.append(shown(problem.key))
        if problem.field is not None:
            parts[0] += f".{shown(problem.field)}"
    if problem.offset is not None:
        parts.append(f"at byte {problem.offset}")
    return f"{' '.join(parts)}: " if parts else ""


def _print_repaired(found: Verified, repaired: Repaired) -> None:
    if repaired.path is None:
        sys.stdout.write("    nothing could be saved\n")
    else:
        moved = f", of which {repaired.moved:,} had members that were apart" if repaired.moved else ""
        sys.stdout.write(f"    saved: {counted(repaired.samples, 'sample')}{moved}: {shown(repaired.path)}\n")
    for lost in repaired.lost:
        sys.stdout.write(f"    lost: {shown(lost.what)}: {shown(lost.why)}\n")


def _as_json(found: Verified, repaired: Repaired | None) -> dict[str, Any]:
    known = {**attrs.asdict(found), "url": redact(found.url)}
    return known if repaired is None else {**known, "repaired": attrs.asdict(repaired)}
