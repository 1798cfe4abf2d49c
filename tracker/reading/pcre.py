"""PCRE2 by its C interface: one call turns a block of text into records of its matches.

Python's `re` makes objects for each match, and cannot say how much work one takes. PCRE2 compiles
the expression to machine code, rewrites a whole block in one call (`pcre2_substitute`, replacements
alone) and gives up a match that takes too many steps. Its library comes with every Debian: grep and
git are linked to it. Source of all numbers here: pcre2.h of 10.42 and pcre2api(3).
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import cache
from typing import Any

from tracker.errors import FormatError

STEPS = 1_000_000
"""How many times a match may be tried anew inside at one place before it is given up."""

_OLDEST = (10, 38)
_GLOBAL = 0x100
_UNKNOWN_UNSET = 0x800
_UNSET_EMPTY = 0x400
_OVERFLOW_LENGTH = 0x1000
_REPLACEMENT_ONLY = 0x20000
_NEVER_BACKSLASH_C = 0x00100000
_NO_MEMORY = -48
_GIVEN_UP = {-46, -47, -53, -63}  # JIT_STACKLIMIT, MATCHLIMIT, DEPTHLIMIT, HEAPLIMIT
_JIT_COMPLETE = 1
_CAPTURE_COUNT = 4
_VERSION = 11
_STACK = 256 * 1024


class PatternError(Exception):
    """An expression that PCRE2 cannot compile."""


class TooManyStepsError(Exception):
    """Some text takes more steps to match than it may: whether it matches is not known."""


class Expression:
    """One compiled expression; not for two threads at a time."""

    def __init__(self, pattern: str, steps: int = STEPS, *, jit: bool = True) -> None:
        """`pattern` is ASCII and is matched against bytes; only \\n ends a line. Raises
        PatternError, and FormatError when there is no PCRE2."""
        library = _library()
        text = b"(*LF)" + pattern.encode("ascii")
        fault, place = c_int(), c_size_t()
        self._code = library.pcre2_compile_8(
            text, len(text), _NEVER_BACKSLASH_C, byref(fault), byref(place), None
        )
        if not self._code:
            raise PatternError(f"{_message(library, fault.value)} at {place.value - 5}")
        weakref.finalize(self, library.pcre2_code_free_8, self._code)
        if jit:
            # Where memory must not be both written and run (systemd's MemoryDenyWriteExecute) this
            # fails, and PCRE2 interprets the expression.
            library.pcre2_jit_compile_8(self._code, _JIT_COMPLETE)
        self._match = library.pcre2_match_data_create_from_pattern_8(self._code, None)
        weakref.finalize(self, library.pcre2_match_data_free_8, self._match)
        self._context = library.pcre2_match_context_create_8(None)
        weakref.finalize(self, library.pcre2_match_context_free_8, self._context)
        library.pcre2_set_match_limit_8(self._context, steps)
        stack = library.pcre2_jit_stack_create_8(32 * 1024, _STACK, None)
        weakref.finalize(self, library.pcre2_jit_stack_free_8, stack)
        library.pcre2_jit_stack_assign_8(self._context, None, stack)
        self._library = library
        self._buffer = ctypes.create_string_buffer(128 * 1024)

    def groups(self) -> int:
        """How many groups it has that capture."""
        count = c_uint32()
        self._library.pcre2_pattern_info_8(self._code, _CAPTURE_COUNT, byref(count))
        return count.value

    def rewrite(self, block: bytes, replacement: bytes) -> tuple[int, str]:
        """How many matches there are in `block`, and `replacement` for each of them, one after the
        other, as Latin-1: `$1` stands for a group, `${*MARK}` for the alternative's mark.

        Raises TooManyStepsError.
        """
        while True:
            length = c_size_t(len(self._buffer))
            found = self._library.pcre2_substitute_8(
                self._code,
                block,
                len(block),
                0,
                _GLOBAL | _UNSET_EMPTY | _UNKNOWN_UNSET | _REPLACEMENT_ONLY | _OVERFLOW_LENGTH,
                self._match,
                self._context,
                replacement,
                len(replacement),
                self._buffer,
                byref(length),
            )
            if found >= 0:
                return found, str(memoryview(self._buffer)[: length.value], "latin-1")
            if found == _NO_MEMORY and length.value > len(self._buffer):
                self._buffer = ctypes.create_string_buffer(2 * length.value)
                continue
            if found in _GIVEN_UP:
                raise TooManyStepsError
            raise RuntimeError(f"PCRE2: {_message(self._library, found)}")


@cache
def _library() -> Any:
    """The library, its functions declared. Raises FormatError where it is missing or too old."""
    try:
        library: Any = ctypes.CDLL("libpcre2-8.so.0")
    except OSError as error:
        raise FormatError(
            f"libpcre2-8.so.0 cannot be loaded ({error}): install PCRE2 (Debian: libpcre2-8-0)"
        ) from error
    text = ctypes.create_string_buffer(64)
    library.pcre2_config_8(_VERSION, text)
    version = text.value.split()[0].decode()
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < _OLDEST:
        raise FormatError(f"PCRE2 {version} is too old: popgate needs 10.38 or later")
    for name, result, arguments in _FUNCTIONS:
        function = getattr(library, f"pcre2_{name}_8")
        function.restype, function.argtypes = result, arguments
    return library


_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    (
        "compile",
        c_void_p,
        [c_char_p, c_size_t, c_uint32, POINTER(c_int), POINTER(c_size_t), c_void_p],
    ),
    ("code_free", None, [c_void_p]),
    ("jit_compile", c_int, [c_void_p, c_uint32]),
    ("jit_stack_create", c_void_p, [c_size_t, c_size_t, c_void_p]),
    ("jit_stack_assign", None, [c_void_p, c_void_p, c_void_p]),
    ("jit_stack_free", None, [c_void_p]),
    ("match_context_create", c_void_p, [c_void_p]),
    ("match_context_free", None, [c_void_p]),
    ("match_data_create_from_pattern", c_void_p, [c_void_p, c_void_p]),
    ("match_data_free", None, [c_void_p]),
    ("set_match_limit", c_int, [c_void_p, c_uint32]),
    ("pattern_info", c_int, [c_void_p, c_uint32, c_void_p]),
    ("get_error_message", c_int, [c_int, c_char_p, c_size_t]),
    (
        "substitute",
        c_int,
        [
            c_void_p,
            c_char_p,
            c_size_t,
            c_size_t,
            c_uint32,
            c_void_p,
            c_void_p,
            c_char_p,
            c_size_t,
            c_char_p,
            POINTER(c_size_t),
        ],
    ),
)


def _message(library: Any, number: int) -> str:
    text = ctypes.create_string_buffer(256)
    library.pcre2_get_error_message_8(number, text, len(text))
    return text.value.decode()
