"""What a pickle holds, read without running it: containers, numbers, texts, and tensors by their description.

A pickle is a program for a machine that can call anything. The machine here calls nothing: of the names that a pickle
mentions it knows those that torch writes for tensors and those of plain containers and numbers, and every other one is
refused. Torch's own restricted machine calls what it allows and hashes whatever is a key, which can end the process.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from vs_videoinr.errors import ModelError


@dataclass(frozen=True, slots=True)
class Storage:
    """Values that follow the pickle.

    Attributes:
        kind: Of what: `Float` for torch's FloatStorage.
        key: What they are found by.
        count: How many there are.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor: a view of a storage, not yet known to lie within it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """A name, or what was made by it: of no use here, but no danger either."""

    name: str


#: What a whole state dict needs. Python 2 knew `builtins` as `__builtin__`, and so do the pickles that torch writes.
_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_STORAGE = re.compile(r"torch(?:\.storage)? (\w+)Storage")

_OTHER_TENSOR = "torch._utils _rebuild_tensor_v3"  # of a type that has no storage of its own, as float8

#: What training programs save beside it: containers, numbers, and tensors of kinds that no network here has.
_OPAQUE = re.compile(
    r"""(builtins|__builtin__)\ (bool|complex|dict|float|frozenset|int|list|long|range|set|slice|str|tuple|xrange)
    | collections\ (Counter|defaultdict|deque)
    | (numpy\._?core\.multiarray\ (_reconstruct|scalar) | numpy\ (dtype|ndarray) | _codecs\ encode)
    | torch\ (Size|device|bool|bfloat16|(float|complex|int|uint)\d\w*)
    | torch\._utils\ _rebuild_(tensor_v3|sparse_tensor|qtensor)
    | torch\.serialization\ _get_layout""",
    re.VERBOSE,
)

#: Opcodes that put their argument down; those of text pickles (protocol 0), which torch has never written, are unknown.
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE"}
    | {"SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "EMPTY_SET": Opaque("set")}


def read(stream: BinaryIO) -> tuple[object, dict[str, Storage]]:
    """Return what the pickle at the stream's position holds, and all storages in it by key; go on behind it.

    Dicts have texts for keys, or an `Opaque` where a key is anything else.

    Raises:
        ModelError: It is damaged, or mentions more than tensors, containers and numbers; the message is the reason.
    """
    try:
        machine = _Machine()
        return machine.run(stream), machine.storages
    except ModelError:
        raise
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ModelError(f"its pickle is damaged ({error})") from None


class _Machine:
    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, stream: BinaryIO) -> object:
        stack, memo = self.stack, self.memo
        opcodes: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(stream)
        for opcode, argument, _ in opcodes:
            match opcode.name:
                case name if name in _VALUES:
                    stack.append(argument)
                case name if name in _CONSTANTS:
                    stack.append(_CONSTANTS[name])
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "MARK":
                    self.marks.append(len(stack))
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_DICT":
                    stack.append({})
                case "TUPLE":
                    stack.append(tuple(self.since_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    stack.append(tuple(self.popped(int(opcode.name[-1]))))
                case "FROZENSET":
                    self.since_mark()
                    stack.append(_CONSTANTS["EMPTY_SET"])
                case "APPEND" | "APPENDS" | "ADDITEMS":
                    items = self.popped(1) if opcode.name == "APPEND" else self.since_mark()
                    if isinstance(whole := stack[-1], list):
                        whole.extend(items)
                case "SETITEM" | "SETITEMS":
                    items = self.popped(2) if opcode.name == "SETITEM" else self.since_mark()
                    if isinstance(whole := stack[-1], dict):
                        _fill(whole, zip(items[::2], items[1::2], strict=True))
                case "GLOBAL":
                    stack.append(_known(argument))
                case "STACK_GLOBAL":
                    stack.append(_known(" ".join(map(str, self.popped(2)))))
                case "REDUCE":
                    stack.append(_made(*self.popped(2)))
                case "BUILD":  # what an ordered dict carries beside its items
                    self.popped(1)
                case "BINPERSID":
                    storage = _storage(stack.pop())
                    stack.append(self.storages.setdefault(storage.key, storage))
                case other:
                    raise _forbidden(other)
        raise ValueError("it has no end")

    def popped(self, count: int) -> list[object]:
        if len(self.stack) < count:
            raise IndexError("it takes more than it has put down")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def since_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def _forbidden(what: str) -> ModelError:
    return ModelError(
        f"it contains code or objects ({what[:80]}), not only tensors; save the network's state_dict() alone"
    )


def _known(name: str) -> Opaque:
    if name not in (_ORDERED_DICT, _TENSOR, _PARAMETER) and not (_STORAGE.fullmatch(name) or _OPAQUE.fullmatch(name)):
        raise _forbidden(name)
    return Opaque(name)


def _made(maker: object, arguments: object) -> object:
    """What calling `maker` with `arguments` would give, if that were done."""
    if not isinstance(maker, Opaque) or not isinstance(arguments, tuple):
        raise TypeError("it calls what is no name")
    if maker.name == _ORDERED_DICT:
        table: dict[str | Opaque, object] = {}
        for pairs in arguments[:1]:  # as Python 2 wrote them
            _fill(table, pairs)
        return table
    if maker.name == _PARAMETER:
        return arguments[0]
    if maker.name == _OTHER_TENSOR:
        return next((part for part in arguments[::-1] if isinstance(part, Opaque)), maker)  # which is its type
    if maker.name != _TENSOR:
        return maker
    storage, offset, shape, strides, *more = arguments
    if not isinstance(storage, Storage) or len(shape) != len(strides) or len(shape) > 8 or any(more[2:]):
        raise TypeError("a tensor in it is not described as it should be")
    if not all(type(number) is int and 0 <= number <= 1 << 40 for number in (offset, *shape, *strides)):
        raise TypeError("a tensor in it has no possible size")
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))


def _storage(about: object) -> Storage:
    if not isinstance(about, tuple) or len(about) < 5 or about[0] != "storage":
        raise _forbidden("a reference to something outside of it")
    _, kind, key, _, count, *view = about
    known = _STORAGE.fullmatch(kind.name) if isinstance(kind, Opaque) else None
    if known is None or not isinstance(key, str) or type(count) is not int or any(view):
        raise TypeError("a storage in it is not described as it should be")
    return Storage(known[1], key, count)


def _fill(table: dict[str | Opaque, object], pairs: Iterable[tuple[object, object]]) -> None:
    for key, value in pairs:
        # Only a text's hash is quick whatever its maker had in mind.
        table[key if isinstance(key, str) else Opaque(type(key).__name__)] = value
