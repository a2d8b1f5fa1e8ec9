"""How deep JSON from outside may nest, counted before anything parses it.

Parsers stop at the interpreter's recursion limit, which is not ours to rely on: a consumer's program may
share its process with a package that raises it (py_ecc, which comes with web3, sets 100,000), and then a few
hundred kilobytes of brackets overflow the stack and kill the process instead of raising an error.
"""

from __future__ import annotations

from compute.errors import BadInput

MAX_DEPTH = 64
TOO_DEEP = f"a document nests at most {MAX_DEPTH} levels"

_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")


def refuse_deep(data: bytes) -> None:
    """Raise BadInput if JSON bytes nest deeper than `MAX_DEPTH`; anything else about them is the parser's.

    Linear in the input and almost free for small documents. What is no JSON at all may pass or be refused.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    # Outside strings only: without escaped backslashes and quotes every second piece is one.
    bare = b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    depth = 0
    for byte in bare.translate(None, delete=_NO_BRACKETS):
        if byte in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise BadInput(TOO_DEEP)
        else:
            depth -= 1
