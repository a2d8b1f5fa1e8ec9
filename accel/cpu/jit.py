"""`compiled`: numba's njit for functions that run without the GIL and are kept on disk once compiled.

numba compiles a function again when the file that holds it has changed. Ours are made of code emitted by
other files, and hold constants of `accel.reference`: here any change in either folder counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit


def compiled(
    function: Callable[..., Any] | None = None, *, signature: Any = None, variant: object = None
) -> Any:
    """The decorator, bare or with arguments.

    With a ``signature`` the function is compiled, or found on disk, at once. A function that another function
    makes needs a ``variant`` that tells it from its siblings: symbols are named after functions, and kernels
    compiled by different processes are linked beside each other. Of two of one name only the first is run.
    """
    if function is None:
        return lambda decorated: compiled(decorated, signature=signature, variant=variant)
    if "<locals>" in function.__qualname__:
        if variant is None:
            raise TypeError(f"{function.__qualname__} is made by another function and needs a variant")
        function.__name__ = f"{function.__name__}_{variant}"
        function.__qualname__ = f"{function.__qualname__}_{variant}"
    dispatcher: Any = njit(nogil=True)(function)
    dispatcher.enable_caching()
    dispatcher._cache._cache_file._source_stamp = _sources()
    if signature is not None:
        dispatcher.compile(signature)
        dispatcher.disable_compile()
    return dispatcher


@cache
def _sources() -> str:
    here = Path(__file__).parent
    digest = sha256()
    for folder in (here, here.parent / "reference"):
        for source in sorted(folder.glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()
