"""Shell command templates: ``gsutil cat '{url}'``."""

from __future__ import annotations

from typing import Any, BinaryIO, Final, Literal, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.pipe import open_command
from webds.openers.streams import BUFFER_SIZE
from webds.redaction import redact

__all__ = ["CommandOpener"]

_PLACE: Final = "{url}"
_VARIABLE: Final = "WEBDS_URL"


def _with_variable(template: str) -> str:
    r"""Put a quoted variable where the template has ``{url}``, whatever quotes stand around it.

    The shell expands a variable after it has understood the command, so no URL can become a part of the command,
    not even where the quotes are understood wrongly here. Followed are single and double quotes, backslashes, and
    ``$(…)`` and backticks, inside of which quoting begins anew.
    """
    forms = {"": f'"${{{_VARIABLE}}}"', "'": f"'\"${{{_VARIABLE}}}\"'", '"': f"${{{_VARIABLE}}}"}
    result: list[str] = []
    around: list[str] = []  # what is open here: quotes, and substitutions by what ends them
    at = 0
    while at < len(template):
        char, inside = template[at], around[-1] if around else ""
        if template.startswith(_PLACE, at):
            result.append(forms.get(inside, forms[""]))
            at += len(_PLACE)
            continue
        step = 1
        if inside == "'":
            if char == "'":
                around.pop()
        elif char == "\\":
            step = 2
        elif char == inside:
            around.pop()
        elif template.startswith("$(", at):
            around.append(")")
            step = 2
        elif char == "(" and inside == ")":
            around.append(")")
        elif char in '"`' or (char == "'" and inside != '"'):
            around.append(char)
        result.append(template[at : at + step])
        at += step
    return "".join(result)


def _has_place(instance: CommandOpener, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and _PLACE not in value:
        raise ValueError(f"a command template names the place of the URL by {_PLACE}: {redact(value)!r} does not")


def _shown(template: Any) -> str:
    return repr(template and redact(template))


@final
@attrs.frozen
class CommandOpener(Opener):
    """Opens any URL by a shell command that is made from a template, such as ``aws s3 cp {url} -``.

    ``{url}`` may stand bare, in single or in double quotes; a URL is always one argument and never a part of the
    command. That holds for the shell that runs the template: one that passes the URL on to a second shell
    (``ssh``, ``sh -c``, ``eval``) has to quote it for that one. The rules of `PipeOpener` hold for the command.

    Attributes:
        template: the command that writes the data of ``{url}`` to its standard output.
        write_template: the command that writes its standard input to ``{url}``, such as ``aws s3 cp - {url}``;
            None if URLs are only read.
        buffer_size: bytes that are read or written at once; below 1, a default.

    Raises:
        ValueError: a template has no ``{url}``.
    """

    template: str = attrs.field(validator=_has_place, repr=_shown)
    write_template: str | None = attrs.field(default=None, validator=_has_place, repr=_shown)
    buffer_size: int = attrs.field(default=BUFFER_SIZE, kw_only=True)

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if not url:
            raise OpenError("an empty string is no URL", url=url)
        template = self.template if mode == "rb" else self.write_template
        if template is None:
            raise OpenError(
                f"the command {redact(self.template)!r} is one for reading; to write, "
                "use pipe: or a webds.CommandOpener with a write_template",
                url=url,
            )
        # A relative path must not be taken for an option.
        argument = f"./{url}" if url.startswith("-") and url != "-" else url
        return open_command(
            _with_variable(template),
            url,
            mode,
            buffer_size=self.buffer_size,
            variables={_VARIABLE: argument},
            name=f"the command {redact(template)!r}",
        )
