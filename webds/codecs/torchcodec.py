"""Tensors as torch.save writes them."""

from __future__ import annotations

import io
import re
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, final

import attrs
from typing_extensions import override

from webds.abc import Codec
from webds.codecs.buffers import flat
from webds.codecs.exact import MAX_DEPTH, shown
from webds.errors import DecodeError, EncodeError, UntrustedDataError
from webds.typing import Buffer

if TYPE_CHECKING:
    import torch

__all__ = ["TorchCodec"]

_ZIP: Final = b"PK\x03\x04"
_REFUSED_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]+)")
_NOT_CODE_BUT_MEMORY: Final = re.compile(rb"c(?:__builtin__|builtins)\nbytearray\n|ctorch[\w.]*\n\w*Tensor\n")
"""Constructors that take a length and then that much memory; torch lets them pass, and does not write them today."""

_MAX_INT: Final = 1 << (8 * 255 - 1)
"""Of longer integers torch's restricted unpickler knows nothing."""


@final
@attrs.frozen
class TorchCodec(Codec[Any]):
    """Tensors, alone or in dicts and lists, as ``torch.save`` writes and ``torch.load(weights_only=True)`` reads them.

    Encoding takes dense CPU tensors and `torch.nn.Parameter`, None, bool, int, float, str, bytes (not empty ones),
    ``torch.Size`` and ``torch.dtype``, in any nesting of list, tuple, dict and ``OrderedDict``, and refuses
    everything else. It stores values: a tensor that is a view is stored at its own size, contiguous, and so comes
    back with other strides; two that are the same view come back as one.

    Decoding puts all tensors on the CPU. What only running code could bring back is refused, unless the data is
    trusted. How far damaged or hostile data can get is up to the installed torch's ``weights_only`` beyond that;
    see its security notes, and keep it up to date.

    Attributes:
        trusted: whether data may run code when it is decoded, as ``weights_only=False`` has it.
    """

    trusted: bool = False

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        import torch  # noqa: PLC0415  # importing webds does not import torch

        try:
            view = flat(data)
            if not self.trusted:
                _check_size(view)
            return torch.load(io.BytesIO(view), map_location="cpu", weights_only=not self.trusted, mmap=False)
        except Exception as error:
            refused = None if self.trusted else _REFUSED_GLOBAL.search(str(error))
            if refused is not None:
                extension = field.rpartition(".")[2] or "pth"
                raise UntrustedDataError(
                    f"the data needs {refused[1]!r} to be loaded, and with it could run any code; if you trust "
                    f"whoever wrote it: .with_decoder({extension!r}, webds.TorchCodec(trusted=True))",
                    field=field,
                ) from error
            reason = str(error).partition("\n")[0].strip()[:300] or type(error).__name__
            raise DecodeError(f"no tensors that torch can load: {reason}", field=field) from error

    @override
    def encode(self, value: Any, field: str) -> bytes:
        import torch  # noqa: PLC0415  # importing webds does not import torch

        try:
            file = io.BytesIO()
            torch.save(_Compact().copy(value), file)
        except EncodeError as error:
            raise error.locate(field=field) from error.__cause__
        except Exception as error:
            raise EncodeError(f"no tensors that torch can save: {error}", field=field) from error
        return file.getvalue()


def _check_size(view: memoryview) -> None:
    """Refuse, before torch reads it, data that would take more memory than it has itself.

    Raises:
        ValueError: it would.
    """
    if bytes(view[:4]) != _ZIP:  # as written before torch 1.6
        pickles = view
    else:
        with zipfile.ZipFile(io.BytesIO(view)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > len(view):
                raise ValueError("the archive is compressed, as torch never writes it, or cut short")
            pickles = memoryview(b"".join(archive.read(entry) for entry in entries if entry.filename.endswith(".pkl")))
    if _NOT_CODE_BUT_MEMORY.search(pickles):
        raise ValueError("it makes tensors, or a bytearray, by their length alone")


class _Compact:
    """Makes a copy of a value in which no tensor has more storage than it needs.

    Equal values become equal copies down to which objects are identical, since ``pickle`` writes an object that it
    has met before as a reference.
    """

    def __init__(self) -> None:
        self._strings: dict[str | bytes, str | bytes] = {}
        self._tensors: dict[tuple[Any, ...], torch.Tensor] = {}
        self._storages: set[int] = set()

    def copy(self, value: Any, path: tuple[Any, ...] = ()) -> Any:
        """Return the copy.

        Args:
            value: what to copy.
            path: the keys and indices that lead to it, for the error.

        Raises:
            EncodeError: it would not come back.
        """
        import torch  # noqa: PLC0415  # importing webds does not import torch

        kind = type(value)
        if kind is torch.Tensor or kind is torch.nn.Parameter:
            return self._tensor(value, path)
        if value is None or kind in {bool, float, torch.dtype} or (kind is int and -_MAX_INT <= value < _MAX_INT):
            return value
        if kind is str or (kind is bytes and value):
            return self._string(value)
        if kind is torch.Size:
            return torch.Size(tuple(value))
        if len(path) == MAX_DEPTH:
            raise _refusal(path, f"nested more than {MAX_DEPTH} deep, or in itself")
        if kind is list or kind is tuple:
            return kind(self.copy(item, (*path, i)) for i, item in enumerate(value))
        if kind is dict or kind is OrderedDict:
            return kind((self._key(key, path), self.copy(item, (*path, key))) for key, item in value.items())
        hint = ": torch.from_numpy(x) makes it a tensor" if kind.__module__ == "numpy" else ""
        raise _refusal(
            path,
            f"{shown(value)} is a {kind.__module__}.{kind.__qualname__}, which would not be loaded with "
            f"weights_only=True, or not as it is{hint}",
        )

    def _key(self, key: Any, path: tuple[Any, ...]) -> Any:
        if key is not None and type(key) not in {str, bytes, bool, int, float}:
            raise _refusal(path, f"the key {shown(key)} is no str, bytes, number or None")
        return self.copy(key, (*path[: MAX_DEPTH - 1], key))

    def _string(self, value: str | bytes) -> str | bytes:
        """Return the one copy of all strings equal to ``value``: not even torch's own strings are the same object."""
        if value not in self._strings:
            if isinstance(value, str):
                copy: str | bytes = str(value.encode("utf-8", "surrogatepass"), "utf-8", "surrogatepass")
            else:
                copy = bytes(bytearray(value))
            self._strings[value] = copy
        return self._strings[value]

    def _tensor(self, value: torch.Tensor, path: tuple[Any, ...]) -> torch.Tensor:
        import torch  # noqa: PLC0415  # importing webds does not import torch

        if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized:
            raise _refusal(
                path,
                f"a tensor on {value.device}, {value.layout}, {value.dtype}: only dense tensors on the CPU come back "
                "as they are",
            )
        if not value.is_leaf or value.grad is not None or vars(value):
            raise _refusal(path, "a tensor with a gradient, or attributes, which would be lost: use .detach()")
        view = (
            type(value), value.dtype, value.requires_grad, value.is_conj(), value.is_neg(),
            value.untyped_storage().data_ptr(), value.storage_offset(), value.shape, value.stride(),
        )  # fmt: skip
        if view not in self._tensors:
            copy = value.detach().resolve_conj().resolve_neg().contiguous()
            storage = copy.untyped_storage()
            if storage.nbytes() != copy.numel() * copy.element_size() or storage.data_ptr() in self._storages:
                copy = copy.clone(memory_format=torch.contiguous_format)
            self._storages.add(copy.untyped_storage().data_ptr())
            if isinstance(value, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, requires_grad=value.requires_grad)
            self._tensors[view] = copy.requires_grad_(value.requires_grad)
        return self._tensors[view]


def _refusal(path: tuple[Any, ...], reason: str) -> EncodeError:
    return EncodeError(
        f"no tensors that torch can load again: value{''.join(f'[{shown(key)}]' for key in path)}: {reason}"
    )
