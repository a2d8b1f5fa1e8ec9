"""Database fields for what the chain identifies by 32 bytes."""

from __future__ import annotations

from typing import Any

from django.core.validators import RegexValidator
from django.db import models

is_hex32 = RegexValidator(r"\A0x[0-9a-f]{64}\Z", "0x and 64 lower-case hexadecimal digits")

ZERO = "0x" + "00" * 32


class Hex32Field(models.CharField):
    """An id or digest, stored as ``0x`` and 64 lower-case hexadecimal digits: readable in every database."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options["max_length"] = 66
        super().__init__(*args, **options)
        self.validators = [*self.validators, is_hex32]

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        del options["max_length"]
        return name, path, args, options
