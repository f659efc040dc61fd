"""GGUF types below 8 bits: llama.cpp's own quantiser, from a wide file, weighted by what a user's text makes important."""

from __future__ import annotations

import ctypes
from collections import Counter, deque
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from belle.errors import BelleError, nearest, need
from belle.jsonl import atomic_path
from belle.quantization.gguf_file import Written, read_types

Importance = Mapping[str, NDArray[np.float32]]
"""GGUF tensor name -> [columns] the mean square of what comes in at each column."""

NEED_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M", "Q2_K_S")
"""Types that llama.cpp refuses to make without importance."""


def small_types() -> dict[str, int]:
    """Name -> llama.cpp's number of every type below 8 bits that it makes of a model."""
    found = {kind.name.removeprefix("MOSTLY_"): kind.value for kind in gguf.LlamaFileType}
    return {name: number for name, number in found.items() if name.startswith(("Q2", "Q3", "Q4", "Q5", "Q6", "IQ"))}


def need_llama_cpp() -> None:
    """Raise a BelleError where llama.cpp, which makes these types, is not installed."""
    try:
        import llama_cpp  # noqa: F401
    except ImportError as error:
        raise need("llama-cpp-python", "gguf", "a GGUF type below 8 bits") from error


def quantise_gguf(wide: Path, path: Path, kind: str, importance: Importance | None = None, threads: int = 0) -> Written:
    """Make `path` of type `kind` from a wide GGUF file (F32, F16, BF16); it appears when it is complete.

    Args:
        kind: such as Q4_K_M.
        importance: columns that matter more are kept more exactly (llama.cpp's "importance matrix").
        threads: 0 is one for each core.

    Raises:
        BelleError: an unknown type, one that needs importance, or llama.cpp refuses.
    """
    types = small_types()
    if kind not in types:
        raise BelleError(f"no GGUF type {kind!r}.{nearest(kind, list(types))}", f"one of: {', '.join(sorted(types))}")
    if kind in NEED_IMPORTANCE and importance is None:
        raise BelleError(f"{kind} keeps so few bits that it needs to know which matter", "set importance.path=your_texts.jsonl")
    need_llama_cpp()
    import llama_cpp

    asked = llama_cpp.llama_model_quantize_default_params()
    asked.ftype, asked.nthread = types[kind], threads
    kept_alive = _importance_array(importance) if importance else None
    if kept_alive is not None:
        asked.imatrix = ctypes.cast(kept_alive[0], ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
    log = _log()
    log.clear()
    with atomic_path(path) as part:
        failed = llama_cpp.llama_model_quantize(str(wide).encode(), str(part).encode(), ctypes.byref(asked))
        if failed or not part.exists():
            lines = [line.strip() for line in log if "fail" in line or "error" in line]
            reason = lines[-1] if lines else f"code {failed}"
            raise BelleError(f"llama.cpp does not make {kind} of {wide}: {reason}", "see whether the file is whole")
        size = part.stat().st_size
    found = dict(read_types(path))
    return Written(path, size, dict(Counter(found.values()).most_common()), tuple(_wider(wide, found, kind)))


def _wider(wide: Path, found: Mapping[str, str], kind: str) -> list[str]:
    """Tensors whose rows do not fit the type: llama.cpp gives them another, larger one, and says so only in its log."""
    import gguf

    if "_K" not in kind:
        return []
    return [
        f"{tensor.name}: its rows of {tensor.shape[0]} are no multiple of 256, stored as {found[tensor.name]}"
        for tensor in gguf.GGUFReader(wide).tensors
        if len(tensor.shape) > 1 and tensor.shape[0] % 256 and "_K" not in found[tensor.name]
    ]


def _importance_array(importance: Importance) -> tuple[Any, list[Any]]:
    """The C array that llama.cpp reads, ended by an empty entry, and what must stay alive as long as it does."""
    import llama_cpp

    array = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
    alive: list[Any] = []
    for place, (name, values) in enumerate(importance.items()):
        numbers = np.ascontiguousarray(values, np.float32)
        alive += [numbers, name.encode()]
        array[place].name = alive[-1]
        array[place].data = numbers.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        array[place].size = len(numbers)
    return array, alive


@lru_cache(maxsize=1)
def _log() -> deque[str]:
    """What llama.cpp would print, from now on; the callback must live as long as the library."""
    import llama_cpp

    lines: deque[str] = deque(maxlen=200)
    callback = llama_cpp.llama_log_callback(lambda level, text, data: lines.append(text.decode("utf-8", "replace")))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    _alive.append(callback)
    return lines


_alive: list[Any] = []
