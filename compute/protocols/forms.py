"""Typed forms of join keys: one spelling per phone number, resident id, e-mail address, number.

Each function takes a text that is NFKC already (full-width digits are plain ones) and gives its one spelling,
or None if it does not fit: what is not certain is left out and counted, never guessed.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal

FormName = Literal["text", "digits", "integer", "phone", "cn_id", "email"]
CHINA = "86"

_SEPARATORS = dict.fromkeys(map(ord, " \t-."), None)
# As people write phone numbers, with dashes of typographers (U+2010 to U+2015).
_PHONE_SEPARATORS = dict.fromkeys(map(ord, " \t-./()\u2010\u2011\u2012\u2013\u2014\u2015"), None)
_DIGITS = re.compile(r"[0-9]+")
_INTEGER = re.compile(r"([+-]?)0*([0-9]+)")
_TRUNK = re.compile(r"\(0\)")
# Numbers after +86: mobile, Beijing, areas of two digits (2x), areas of three (3xx to 9xx).
_CHINESE = re.compile(r"1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}")
# Numbers after +1: an area code that is no service code (N11), an exchange; neither begins with 0 or 1
# (North American Numbering Plan, NXX-NXX-XXXX).
_NORTH_AMERICAN = re.compile(r"[2-9](?!11)[0-9]{2}[2-9][0-9]{6}")
# RFC 5321, section 4.5.3.1: octets before the @, and after it.
_LOCAL_BYTES, _DOMAIN_BYTES = 64, 255
_LOCAL_PART = re.compile(r"[^\s@\"(),:;<>\[\]\\\x00-\x1f\x7f]{1,64}")
# IDNA 2003, which Python has, maps these away; IDNA 2008 keeps them (Unicode Technical Standard 46, section
# 4): faß.de and fass.de are two domains.
_DEVIATIONS = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Remainders of ISO 7064 MOD 11-2 and the weights 2^(17-i) mod 11 (GB 11643-1999, annex A).
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECKS = "10X98765432"
# The old form had these last three digits for people above a hundred: they were born before 1900.
_CENTENARIANS = ("996", "997", "998", "999")


def digits(text: str) -> str | None:
    """Decimal digits; blanks, hyphens and dots between them are dropped, zeros in front kept."""
    plain = text.strip().translate(_SEPARATORS)
    return plain if _DIGITS.fullmatch(plain) else None


def integer(text: str) -> str | None:
    """A whole number without plus sign and without zeros in front."""
    match = _INTEGER.fullmatch(text.strip())
    if match is None:
        return None
    sign, number = match.groups()
    return "-" + number if sign == "-" and number != "0" else number


def phone(text: str, country_code: str) -> str | None:
    """E.164 (``+`` and up to 15 digits); national numbers belong to ``country_code``.

    Dropped: separators, an international 00 (in North America 011), ``(0)`` after a country code, a national
    0 (in North America 1; Italy's 0 is part of the number). Numbers of +86 must be mobile, or have an area
    code; those of +1 must have an area code.
    """
    text = text.strip()
    abroad = text.startswith(("+", "00"))
    if abroad:
        text = _TRUNK.sub("", text, count=1)
    plain = text.translate(_PHONE_SEPARATORS)
    if abroad:
        number = plain[1:] if plain.startswith("+") else plain[2:]
    elif country_code == "1" and plain.startswith("0"):
        if not plain.startswith("011"):
            return None  # 0 is no prefix there, and no number begins with it
        number = plain[3:]
    elif country_code == CHINA and len(plain) == 13 and plain.startswith(CHINA):
        number = plain  # no Chinese number without its country code has 13 digits
    elif country_code == "1" and len(plain) == 11 and plain.startswith("1"):
        number = plain
    else:
        national = plain[1:] if plain.startswith("0") and country_code != "39" else plain
        if country_code == CHINA and not plain.startswith("0") and not national.startswith("1"):
            return None  # a local number: which area it is in nobody says
        number = country_code + national
    if not _DIGITS.fullmatch(number) or number.startswith("0") or not 7 <= len(number) <= 15:
        return None
    if number.startswith(CHINA) and not _CHINESE.fullmatch(number[2:]):
        return None
    if number.startswith("1") and not _NORTH_AMERICAN.fullmatch(number[1:]):
        return None
    return "+" + number


def cn_id(text: str) -> str | None:
    """A resident identity number of 18 characters with its check character (GB 11643-1999).

    The old form of 15 digits gets its century and check character. The date of birth must be a date.
    """
    plain = text.strip().translate(_SEPARATORS).upper()
    if len(plain) == 15 and _DIGITS.fullmatch(plain):
        if plain.endswith(_CENTENARIANS):
            return None
        plain = plain[:6] + "19" + plain[6:]
        plain += _check_character(plain)
    if len(plain) != 18 or not _DIGITS.fullmatch(plain[:17]) or plain.startswith("0"):
        return None
    try:
        datetime.date(int(plain[6:10]), int(plain[10:12]), int(plain[12:14]))
    except ValueError:
        return None
    return plain if plain[17] == _check_character(plain[:17]) else None


def email(text: str, *, fold: bool) -> str | None:
    """An address whose domain is in lower case and ASCII (IDNA); the part before @ is folded if asked for.

    RFC 5321 section 2.4 leaves the case of that part to its host. Quoted parts and comments do not fit, nor
    does what is longer than section 4.5.3.1 allows, before or after the domain became ASCII.
    """
    local, at, domain = text.strip().partition("@")
    # Lengths first: what IDNA costs grows with them.
    if not at or len(local.encode(errors="replace")) > _LOCAL_BYTES or len(domain) > _DOMAIN_BYTES:
        return None
    if not _LOCAL_PART.fullmatch(local):
        return None
    domain = domain.removesuffix(".")
    if _DEVIATIONS.search(domain):
        return None
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    domain = domain.lower()
    labels = domain.split(".")
    if len(labels) < 2 or len(domain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    # What folding spells anew is brought to one spelling again (Unicode, D147).
    return (unicodedata.normalize("NFKC", local.casefold()) if fold else local) + "@" + domain


def _check_character(first: str) -> str:
    return CHECKS[sum(weight * int(digit) for weight, digit in zip(WEIGHTS, first, strict=True)) % 11]


SIMPLE: Mapping[str, Callable[[str], str | None]] = {"digits": digits, "integer": integer, "cn_id": cn_id}
"""Forms that have no options."""
