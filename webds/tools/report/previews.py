"""Samples as the page shows them: pictures made small, texts cut, and no more bytes than a sample may take."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import numpy as np
from typing_extensions import override

from webds.abc import Opener
from webds.codecs.image import ImageCodec
from webds.codecs.media_files import audio_kind, check_whole, video_kind
from webds.errors import DecodeError, MissingExtraError, WebdsError
from webds.redaction import redact
from webds.tar import Members, MissingEnd
from webds.tools.engine import report
from webds.tools.report.facts import ShownField, ShownImage, ShownSample
from webds.tools.report.kinds import Kind, decoder_of, inflated, kind_of
from webds.tools.report.scanning import MOST_READ, image_facts, opened, parts_of, reason
from webds.tools.texts import clipped, name_text, prose_text, size_text

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import Image

__all__ = ["FIELD_COST", "SAMPLE_COST", "ShowTask", "island", "show_samples"]

SAMPLE_COST: Final = 2000
"""Bytes that a sample takes at most, besides its fields."""

FIELD_COST: Final = 1600
"""Bytes that a field takes at most, besides its text, pictures and sounds."""

_THUMBNAILS: Final = (288, 144, 72)
_LARGE: Final = 1280
_SMALL: Final = 96
_LONGEST_TEXT: Final = 20_000
_DEEPEST: Final = 40
_AUDIO: Final = {"flac": "audio/flac", "ogg": "audio/ogg", "wav": "audio/wav", "mp3": "audio/mpeg"}
_VIDEO: Final = {"mov": "video/mp4", "matroska": "video/webm"}
_DUMPED: Final = 128
_ESCAPED: Final = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def island(value: Any) -> str:
    """Return JSON that can stand in a page's ``script`` element: ASCII, and nothing that would end the element."""
    return json.dumps(value, separators=(",", ":")).translate(_ESCAPED)


@final
@attrs.frozen
class ShowTask:
    """Samples of one shard that are to be shown.

    Attributes:
        number: which shard it is.
        url: where it is.
        opener: opens it.
        missing_end: what an archive without end blocks is.
        ordinals: the samples, ascending.
        allowance: bytes that each may take on the page.
    """

    number: int
    url: str
    opener: Opener
    missing_end: MissingEnd
    ordinals: Sequence[int]
    allowance: int

    @override
    def __str__(self) -> str:
        return redact(self.url)


def show_samples(task: ShowTask) -> list[ShownSample]:
    """Return the samples. Those that a shard does not give, which has been looked at before, are left out."""
    wanted = frozenset(task.ordinals)
    shown: list[ShownSample] = []
    try:
        with opened(task.opener, task.url, whole=False) as stream:
            members = Members(stream, url=task.url, missing_end=task.missing_end)
            _collect(task, members, wanted, shown)
    except (WebdsError, OSError, ValueError):  # the report says already that the shard is broken
        pass
    report(len(task.ordinals))
    return shown


def _collect(task: ShowTask, members: Members, wanted: frozenset[int], shown: list[ShownSample]) -> None:
    key, ordinal = None, -1
    contents: dict[str, tuple[int, bytes | None]] = {}
    try:
        for this, field, size, data in parts_of(members):
            if this != key:
                if key is not None and ordinal in wanted:
                    shown.append(_shown(task, ordinal, key, contents))
                    if len(shown) == len(wanted):
                        return
                key, ordinal, contents = this, ordinal + 1, {}
            if ordinal in wanted and field not in contents:
                contents[field] = size, data() if size <= MOST_READ else None
    except Exception:
        if not members.ended:
            key = None  # it is not whole
        raise
    finally:
        if key is not None and ordinal in wanted and len(shown) < len(wanted):
            shown.append(_shown(task, ordinal, key, contents))


@final
class _Allowance:
    """How many bytes of the page there still are for a sample."""

    def __init__(self, left: int) -> None:
        self.left: int = left

    def take(self, cost: int) -> bool:
        """Take so many bytes, if there are that many."""
        if cost > self.left:
            return False
        self.left -= cost
        return True


@final
@attrs.define
class _Draft:
    """A field on its way to the page."""

    name: str
    kind: Kind
    size: int
    data: bytes = b""
    fault: str | None = None
    note: str | None = None
    text: str | None = None
    tree: list[Any] | None = None
    image: ShownImage | None = None
    media: str | None = None
    facts: str | None = None
    picture: Image.Image | None = None

    def shown(self) -> ShownField:
        return ShownField(
            name_text(self.name), self.kind, self.size, self.fault, self.note, self.text, self.tree, self.image,
            self.media, self.facts,
        )  # fmt: skip


def _shown(task: ShowTask, ordinal: int, key: str, contents: Mapping[str, tuple[int, bytes | None]]) -> ShownSample:
    """Return a sample within its allowance: texts and thumbnails first, then what is played, then large pictures."""
    allowance = _Allowance(task.allowance - SAMPLE_COST)
    drafts: list[_Draft] = []
    for field, (size, data) in contents.items():
        if not allowance.take(FIELD_COST):
            break
        draft = _Draft(field, kind_of(field), size, data or b"")
        drafts.append(draft)
        if data is None:
            draft.note = f"not read: fields of more than {size_text(MOST_READ)} are not"
    share = allowance.left // (3 * max(1, len(drafts)))
    for draft in drafts:
        if draft.note is None:
            _preview(draft, allowance, share)
    for draft in drafts:
        if draft.kind in (Kind.AUDIO, Kind.VIDEO) and draft.fault is None and draft.note is None:
            _embed(draft, allowance)
    for draft in drafts:
        if draft.picture is not None and draft.image is not None:
            _enlarge(draft, draft.picture, draft.image, allowance)
    shown = tuple(draft.shown() for draft in drafts)
    return ShownSample(task.number, ordinal, name_text(key), shown, len(contents) - len(drafts))


def _preview(draft: _Draft, allowance: _Allowance, share: int) -> None:
    """Make of a content what takes few bytes: a text of no more than ``share``, a thumbnail."""
    try:
        draft.data = inflated(draft.data, draft.name)
        _PREVIEWS[draft.kind](draft, allowance, share)
    except Exception as error:
        draft.fault = reason(error)
    if draft.fault is not None:
        _write(draft, _dump(draft.data), allowance, share)


def _write(draft: _Draft, text: str, allowance: _Allowance, share: int) -> None:
    """Put a text on the page, cut where it is too long."""
    shown = prose_text(text[:_LONGEST_TEXT])
    length = len(shown)
    while length and len(island(shown[:length])) > min(share, allowance.left):
        length //= 2
    if length < len(shown) or len(text) > _LONGEST_TEXT:
        draft.note = draft.note or f"the first {length:,} of {len(text):,} characters"
    draft.text = shown[:length]
    allowance.take(len(island(draft.text)))


def _preview_text(draft: _Draft, allowance: _Allowance, share: int) -> None:
    _write(draft, str(_decoded(draft)), allowance, share)


def _preview_json(draft: _Draft, allowance: _Allowance, share: int) -> None:
    value = _decoded(draft)
    room = min(share, allowance.left)
    tree = _node(value, _DEEPEST) if len(draft.data) <= room else []
    if tree and (cost := len(island(tree))) <= room:
        allowance.take(cost)
        draft.tree = tree
    else:
        _write(draft, draft.data.decode("utf-8", "surrogateescape"), allowance, share)


def _node(value: Any, depth: int) -> list[Any]:
    """Return a JSON value as `ShownField.tree` has it: numbers keep every digit."""
    if depth == 0 and isinstance(value, (dict, list)):
        return ["v", "…"]
    if isinstance(value, dict):
        return ["o", *([name_text(str(key)), _node(item, depth - 1)] for key, item in value.items())]
    if isinstance(value, list):
        return ["a", *(_node(item, depth - 1) for item in value)]
    if isinstance(value, str):
        return ["s", prose_text(value)]
    return ["v", json.dumps(value)]


def _preview_class(draft: _Draft, allowance: _Allowance, share: int) -> None:
    _write(draft, str(_decoded(draft)).strip(), allowance, share)


def _preview_array(draft: _Draft, allowance: _Allowance, share: int) -> None:
    try:
        value = _decoded(draft)
    except MissingExtraError as error:
        draft.note = name_text(error.message)
        _preview_bytes(draft, allowance, share)
        return
    _write(draft, "\n".join(_described(value, "")), allowance, share)


def _preview_bytes(draft: _Draft, allowance: _Allowance, share: int) -> None:
    _write(draft, _dump(draft.data), allowance, share)


def _preview_audio(draft: _Draft, allowance: _Allowance, share: int) -> None:
    kind = audio_kind(draft.data)
    check_whole(draft.data, kind)
    draft.facts = kind
    try:
        import soundfile  # noqa: PLC0415  # an optional package, without which less is known
    except (ImportError, OSError):
        return
    info = soundfile.info(io.BytesIO(draft.data))
    channels = {1: "mono", 2: "stereo"}.get(info.channels, f"{info.channels} channels")
    draft.facts = f"{kind}, {info.duration:,.1f} s, {info.samplerate:,} Hz, {channels}"


def _preview_video(draft: _Draft, allowance: _Allowance, share: int) -> None:
    draft.facts = video_kind(draft.data)
    check_whole(draft.data, draft.facts)


def _preview_image(draft: _Draft, allowance: _Allowance, share: int) -> None:
    width, height, format_, mode = image_facts(draft.data)
    draft.facts = f"{width:,} \N{MULTIPLICATION SIGN} {height:,} {format_}"
    picture = _picture(draft.data, width, height, alpha=_has_alpha(mode, draft.data))
    for side in _THUMBNAILS:
        thumbnail = _data_url(*_encoded(picture, side))
        if allowance.take(len(thumbnail)):
            small = max(width, height) <= _SMALL
            draft.image = ShownImage(width, height, format_, mode, thumbnail, None, small)
            draft.picture = picture if max(width, height) > side else None
            return
    draft.note = "the page has no room for its picture"


def _picture(data: bytes, width: int, height: int, *, alpha: bool) -> Image.Image:
    """Return an image, no side of which is longer than any that will be shown."""
    scale = _LARGE / max(width, height, _LARGE)
    size = None if scale == 1 else (max(1, round(height * scale)), max(1, round(width * scale)))
    picture: Image.Image = ImageCodec("pilrgba" if alpha else "pil", size=size).decode(data, "image")
    return picture


_PREVIEWS: Final[Mapping[Kind, Callable[[_Draft, _Allowance, int], None]]] = {
    Kind.TEXT: _preview_text,
    Kind.JSON: _preview_json,
    Kind.CLASS: _preview_class,
    Kind.ARRAY: _preview_array,
    Kind.BYTES: _preview_bytes,
    Kind.AUDIO: _preview_audio,
    Kind.VIDEO: _preview_video,
    Kind.IMAGE: _preview_image,
}


def _decoded(draft: _Draft) -> Any:
    decoder = decoder_of(draft.name)
    if decoder is None:
        raise DecodeError("nobody here knows how to decode it")
    return decoder.decode(draft.data, draft.name.removesuffix(".gz"))


def _has_alpha(mode: str, data: bytes) -> bool:
    return mode in ("LA", "La", "PA", "RGBA", "RGBa") or (mode in ("P", "L", "RGB") and b"tRNS" in data[:4096])


def _encoded(picture: Image.Image, side: int) -> tuple[bytes, str]:
    """Return a file with the picture, no side of which is longer than ``side``, and its type."""
    width, height = picture.size
    stream = io.BytesIO()
    if max(width, height) > side:
        scale = side / max(width, height)
        picture = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), reducing_gap=3.0)
    if max(width, height) <= _SMALL:  # every pixel counts
        picture.save(stream, "PNG", optimize=True)
        return stream.getvalue(), "image/png"
    picture.info.clear()  # profiles and comments
    picture.save(stream, "WEBP", quality=80, method=2)
    return stream.getvalue(), "image/webp"


def _enlarge(draft: _Draft, picture: Image.Image, image: ShownImage, allowance: _Allowance) -> None:
    """Add the picture as large as it is shown."""
    large = _data_url(*_encoded(picture, _LARGE))
    if allowance.take(len(large)):
        draft.image = attrs.evolve(image, large=large)
        if (longer := max(image.width, image.height)) > _LARGE:
            draft.note = f"shown at {_LARGE / longer:.0%} of its size"
    else:
        draft.note = "shown small: the page has no room for more"
    draft.picture = None


def _embed(draft: _Draft, allowance: _Allowance) -> None:
    """Add what can be played, as it is."""
    types, kind = (_AUDIO, audio_kind(draft.data)) if draft.kind is Kind.AUDIO else (_VIDEO, video_kind(draft.data))
    if kind not in types:
        draft.note = f"browsers do not play {kind}"
    elif not allowance.take(4 * len(draft.data) // 3 + 64):
        draft.note = f"not on this page, which has no room for its {size_text(draft.size)}"
    else:
        draft.media = _data_url(draft.data, types[kind])


def _data_url(data: bytes, type_: str) -> str:
    return f"data:{type_};base64,{base64.b64encode(data).decode()}"


def _described(value: Any, name: str, depth: int = 6) -> Iterable[str]:
    """Yield lines about a value that may have arrays in it."""
    before = f"{name}: " if name else ""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        shape = " \N{MULTIPLICATION SIGN} ".join(map(str, value.shape)) or "one"
        yield clipped(f"{before}{value.dtype}, {shape} {'value' if shape == 'one' else ''}".rstrip(), 200)
        yield from _numbers(value)
    elif isinstance(value, (dict, list, tuple)) and depth:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        yield f"{before}{type(value).__name__} of {len(value)}"
        for i, (key, item) in enumerate(pairs):
            if i == 100:
                yield "…"
                break
            yield from (f"  {line}" for line in _described(item, clipped(str(key), 100), depth - 1))
    else:
        yield clipped(f"{before}{value!r}", 400)


def _numbers(value: Any) -> Iterable[str]:
    """Yield the first numbers of an array or tensor."""
    try:
        flat = np.asarray(value).reshape(-1)
    except Exception:  # a tensor that numpy has no type for
        return
    if flat.dtype.kind in "biufc" and flat.size:
        first = ", ".join(f"{number:.6g}" if flat.dtype.kind in "fc" else str(number) for number in flat[:12])
        yield f"  {first}{', …' if flat.size > 12 else ''}"


def _dump(data: bytes) -> str:
    """Return the first bytes in hexadecimal digits, and as characters."""
    lines: list[str] = []
    for at in range(0, min(len(data), _DUMPED), 16):
        row = data[at : at + 16]
        characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):<47}  {characters}")
    if len(data) > _DUMPED:
        lines.append(f"… {size_text(len(data))}")
    return "\n".join(lines)
