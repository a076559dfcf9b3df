"""A `Report` as a page: one file of HTML that works by itself, and in which every text out of a shard stays a text."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from webds.errors import MissingExtraError
from webds.tools.report.facts import Finding, FindingKind, Report, ShownField, ShownSample
from webds.tools.report.kinds import Kind
from webds.tools.report.plots import byte_histogram, dimensions, pixel_histogram
from webds.tools.report.previews import island
from webds.tools.texts import clipped, count_text, size_text

if TYPE_CHECKING:  # an extra
    from jinja2 import Environment

__all__ = ["GENERATOR", "render"]

GENERATOR: Final = '<meta name="generator" content="webds report">'
"""What every page has among its first bytes."""

_PACKAGE: Final = __name__.rpartition(".")[0]
_MOST_SHARDS: Final = 500
_MOST_BROKEN: Final = 200
_EXCERPT: Final = 160
_SHARE: Final = 0.1

_HEADLINES: Final[dict[FindingKind, tuple[str, str, str]]] = {
    "broken": (
        "shard cannot be read to its end",
        "shards cannot be read to their end",
        "Training stops there, or loses what follows. The report counts what came before.",
    ),
    "undecodable": (
        "field cannot be decoded",
        "fields cannot be decoded",
        "The content is not what the extension says. Training stops there, or leaves the sample out.",
    ),
    "apart": (
        "key comes back in its shard",
        "keys come back in their shard",
        "Members of one sample lie apart, or the sample is there twice: reading such a shard is an error.",
    ),
    "twice": (
        "sample has a field twice",
        "samples have a field twice",
        "Reading such a sample is an error, unless duplicates= says which one counts.",
    ),
    "taken": (
        "field has a name that is taken",
        "fields have a name that is taken",
        "Reading such a sample is an error.",
    ),
    "key": (
        "key is in several shards",
        "keys are in several shards",
        "Two different samples cannot be told apart by it, or one is there twice.",
    ),
    "content": (
        "field has the content of another one",
        "fields have the content of another one",
        "Byte by byte the same, in the same field of another sample. Of captions that is to be expected.",
    ),
    "uneven": (
        "sample lacks what most have",
        "samples lack what most have",
        "Whoever asks for the field gets an error there, unless it may be missing.",
    ),
    "empty": ("field is empty", "fields are empty", "There is not a byte in it."),
    "no sample": (
        "file belongs to no sample",
        "files belong to no sample",
        "Its name has no key, or no field. Reading passes over it.",
    ),
    "names": (
        "sample has a name to beware of",
        "samples have a name to beware of",
        "It is no UTF-8, or has characters that cannot be seen; here they are escapes.",
    ),
}


@final
@attrs.frozen
class _Card:
    """A sample among the others.

    Attributes:
        sample: the sample.
        shard: where it is.
        picture: the field whose thumbnail is shown.
        media: the field that can be played.
        labels: name and value of its classes.
        excerpt: the beginning of its text.
        faulty: whether something of it cannot be decoded.
    """

    sample: ShownSample
    shard: str
    picture: ShownField | None
    media: ShownField | None
    labels: tuple[tuple[str, str], ...]
    excerpt: str | None
    faulty: bool

    @classmethod
    def of(cls, sample: ShownSample, shard: str) -> _Card:
        fields = sample.fields
        labels = ((field.name, clipped(field.text or "", 40)) for field in fields if field.kind is Kind.CLASS)
        texts = [field.text for field in fields if field.kind is Kind.TEXT and field.text and not field.fault]
        others = [gist for field in fields if not field.fault and (gist := _gist(field))]
        picture = next((field for field in fields if field.image is not None), None)
        excerpt = next(iter(texts or ([] if picture else others)), None)
        return cls(
            sample,
            shard,
            picture,
            next((field for field in fields if field.media is not None), None),
            tuple(labels)[:4],
            None if excerpt is None else clipped(" ".join(excerpt[: 2 * _EXCERPT].split()), _EXCERPT),
            any(field.fault is not None for field in fields),
        )

    def data(self) -> dict[str, Any]:
        """Return what the script needs of it, and the card does not have."""
        return {
            "key": self.sample.key,
            "shard": self.shard,
            "ordinal": self.sample.ordinal,
            "hidden": self.sample.hidden,
            "fields": [self._field(field) for field in self.sample.fields],
        }

    def _field(self, field: ShownField) -> dict[str, Any]:
        data: dict[str, Any] = {"name": field.name, "kind": field.kind.value, "size": size_text(field.size)}
        for name in ("fault", "note", "text", "tree", "facts"):
            if (value := getattr(field, name)) is not None:
                data[name] = value
        if field.image is not None:
            image = field.image
            data["image"] = {"width": image.width, "height": image.height, "small": image.is_small}
            source = image.large or (None if field is self.picture else image.thumbnail)
            data["image"] |= {} if source is None else {"source": source}  # the card has the other one
        if field.media is not None:
            data["media"] = {} if field is self.media else {"source": field.media}
        return data


def _gist(field: ShownField) -> str:
    """Return a few words of a JSON value or an array."""
    if field.tree is not None and field.tree[0] == "o":
        return ", ".join(f"{key}: {node[1]}" for key, node in field.tree[1:13] if node[0] in ("s", "v"))
    return (field.text or "") if field.kind in (Kind.JSON, Kind.ARRAY) else ""


def render(report: Report) -> str:
    """Return the page: HTML in UTF-8, all of whose characters can be encoded.

    The page asks nobody for anything, and says so to the browser: its policy allows the script and the style that it
    has, by their hashes, and pictures and sounds that are part of it.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    style, script = _asset("page.css"), _asset("page.js")
    cards = [_Card.of(sample, report.shards[sample.shard].url) for sample in report.shown]
    folder = _folder([shard.url for shard in report.shards])
    return _environment(folder).get_template("page.html").render(
        report=report,
        folder=folder,
        style=_markup(style),
        script=_markup(script),
        policy=_policy(style, script),
        generator=_markup(GENERATOR),
        version=importlib.metadata.version("webds"),
        cards=cards,
        island=_markup(island([card.data() for card in cards])),
        shards=_listed_shards(report),
        most_samples=max((shard.samples for shard in report.shards), default=0),
        card_shards=sorted({card.shard for card in cards}),
        card_fields=sorted({field.name for card in cards for field in card.sample.fields}),
        faults=[finding for finding in report.findings if finding.is_fault],
        notes=[finding for finding in report.findings if not finding.is_fault],
    )  # fmt: skip


def _asset(name: str) -> str:
    return resources.files(_PACKAGE).joinpath("assets", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _markup(text: str) -> Any:
    """Return a text that comes out of this package, and is to stand in the page as it is."""
    from markupsafe import Markup  # noqa: PLC0415  # of jinja2

    return Markup(text)  # noqa: S704  # see above


def _environment(folder: str) -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingExtraError.of("jinja2", "cli", "making a page") from error
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {
        "short": functools.partial(_without, folder),
        "size": size_text,
        "count": count_text,
        "share": _share,
        "bytes_plot": byte_histogram,
        "pixels_plot": pixel_histogram,
        "dimensions_plot": dimensions,
        "headline": _headline,
        "consequence": _consequence,
    }
    environment.filters.update(filters)
    return environment


def _share(part: float, whole: float) -> str:
    """Return a part in percent: 100 % is all, and 0 % none."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < _SHARE:
        return f"< {_SHARE} %"
    if 100 - _SHARE / 2 <= percent < 100:
        return f"> {100 - _SHARE:.1f} %"
    return f"{percent:.1f} %" if 0 < percent < 100 else f"{percent:.0f} %"


def _headline(finding: Finding) -> str:
    one, many, _ = _HEADLINES[finding.kind]
    return count_text(finding.count, one, many)


def _folder(urls: Sequence[str]) -> str:
    """Return the folder that all shards are in, with its slash; nothing if there is none."""
    common = os.path.commonprefix(urls)  # noqa: RUF071  # they may be URLs
    return common[: common.rfind("/") + 1]


def _consequence(finding: Finding) -> str:
    return _HEADLINES[finding.kind][2]


def _without(folder: str, url: str) -> str:
    return url[len(folder) :]


def _listed_shards(report: Report) -> Sequence[tuple[int, Any]]:
    """Return the shards that are listed, with their numbers: all if they are not too many; of these, the broken."""
    numbered = list(enumerate(report.shards))
    if len(numbered) <= _MOST_SHARDS:
        return numbered
    broken = [item for item in numbered if item[1].fault is not None][:_MOST_BROKEN]
    rest = [item for item in numbered if item[1].fault is None][: _MOST_SHARDS - len(broken)]
    return sorted(broken + rest, key=lambda item: item[0])
