"""The one way a body comes in: JSON that every layer behind it can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser


class StorableJson(JSONParser):
    """JSON without what would only fail further in, as a fault of ours.

    Nesting beyond the interpreter's depth, half a surrogate pair (no UTF-8) and NUL (PostgreSQL takes none)
    are refused here, as the sender's fault.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            parsed = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("the document is nested too deeply") from None
        fields = parsed.items() if isinstance(parsed, dict) else [("", parsed)]
        for name, value in fields:
            if not _storable(name) or not _all_storable(value):
                reason = "a text holds a NUL or half a surrogate pair"
                raise ValidationError({name: [reason]} if name and _storable(name) else reason)
        return parsed


def _all_storable(document: Any) -> bool:
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and not _storable(value):
            return False
    return True


def _storable(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
