"""Texts of the EaaS API as values: base64 strictly, decimals exactly.

A Paillier plaintext is a decimal with up to 12 places, held as a whole number of 10^-12: sums and products
with whole numbers are exact, and what comes back is the decimal that a pocket calculator shows.
"""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal, localcontext

from compute.errors import BadInput

DECIMAL_PLACES = 12


def to_text(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def from_text(text: str, index: int) -> bytes:
    """Strict inverse of `to_text`; raises BadInput naming the item."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadInput(f"item {index} is not base64", index=index) from error
    if to_text(data) != text:
        raise BadInput(f"item {index} is not canonical base64", index=index)
    return data


def to_units(text: str) -> int:
    """A decimal text as a whole number of 10^-12."""
    with localcontext(prec=80):
        return int(Decimal(text).scaleb(DECIMAL_PLACES))


def from_units(units: int) -> str:
    """A whole number of 10^-12 as decimal text without trailing zeros."""
    sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(DECIMAL_PLACES + 1, "0")
    whole, places = digits[:-DECIMAL_PLACES], digits[-DECIMAL_PLACES:].rstrip("0")
    return f"{sign}{whole}.{places}" if places else f"{sign}{whole}"
