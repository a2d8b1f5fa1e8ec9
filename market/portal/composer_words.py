"""The words of the job composer: what each parameter is called, what it does, and where it stands.

By the name of the field, since kinds share them. A name that is not here is shown as it is: a kind that is
newer than these words still has its form.
"""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

Word = str | Promise

# Groups of a form, in this order; all but the first are folded away.
MAIN, RESULT, COMPARED, BOUNDS, PROTOCOL = "main", "result", "compared", "bounds", "protocol"
GROUPS: dict[str, Word] = {
    MAIN: _("Parameters"),
    RESULT: _("What comes out, and to whom"),
    COMPARED: _("How values are made comparable"),
    BOUNDS: _("Bounds"),
    PROTOCOL: _("Protocol and security"),
}

LABELS: dict[str, Word] = {
    "keys": _("Key columns"),
    "key": _("Key columns"),
    "value": _("Column to summarise"),
    "values": _("Columns to add up"),
    "group_by": _("Column to group by"),
    "groups": _("Groups"),
    "filter": _("Only rows where"),
    "columns": _("Columns"),
    "features": _("Features"),
    "label": _("Label column"),
    "positive": _("Positive value of the label"),
    "output_to": _("Who learns the result"),
    "deliver_to_consumer": _("Seal the matching rows to me"),
    "output_columns": _("Columns added to matching rows"),
    "label_columns": _("Columns given out for matches"),
    "measures": _("What is counted"),
    "label_rows": _("If a key has several rows to give out"),
    "join": _("Which rows are kept"),
    "normalise": _("How keys are made comparable"),
    "forms": _("What each key column holds"),
    "trim": _("Cut white space at both ends"),
    "case": _("Upper and lower case"),
    "unicode": _("Unicode form"),
    "country_code": _("Country code of national phone numbers"),
    "max_elements": _("Most keys per side"),
    "max_record_bytes": _("Longest record, in bytes"),
    "pad_queries_to": _("Numbers of queries that are told apart"),
    "protocol": _("Protocol"),
    "curve": _("Curve"),
    "scheme": _("Encryption of the values"),
    "security": _("Against what the peer may do"),
    "low_communication": _("Send less, compute more"),
    "link_mbit_s": _("Line between the parties, in Mbit/s"),
    "result_check": _("Both sides check that they used the same data"),
    "l2": _("L2 penalty"),
    "max_rounds": _("Most rounds"),
    "tolerance": _("Tolerance"),
    "calls": _("Most calls"),
    "duration_s": _("Open for, in seconds"),
}

HELP: dict[str, Word] = {
    "keys": _("Rows meet if these are equal, column by column, in this order."),
    "key": _("What is looked for, column by column, in this order."),
    "output_to": _("The others learn nothing but the sizes of the sets."),
    "deliver_to_consumer": _("Without it only the count leaves the node."),
    "output_columns": _("They travel with each matching row, sealed to you."),
    "label_columns": _("The other side gets these values for matching keys, and for no other key."),
    "forms": _("One per key column, in the same order: a phone number then meets its other spellings."),
    "max_elements": _("As many uses are reserved of each grant; what is not used is given back."),
    "pad_queries_to": _(
        "Dummy queries fill up to the next of these, so no one sees how many were real. They are charged too."
    ),
    "filter": _("One condition per line: column, operator (= != < <= > >=), value. Example: age >= 40"),
    "groups": _("The values that may occur, separated by commas. Others are not counted."),
    "protocol": _(
        "Automatic, where offered, chooses by sizes, network and hardware, and the result says why."
    ),
    "security": _(
        "Malicious holds even against a peer that deviates from the protocol; it costs a little more."
    ),
    "low_communication": _("For slow networks."),
    "link_mbit_s": _("If it is known, the automatic choice counts bytes against time."),
    "join": _(
        "Left: empty where nothing matches. Who gets the result sees how many do, the other side does not."
    ),
    "l2": _("A decimal as text, for example 1.0"),
    "tolerance": _("A decimal as text, for example 1e-10"),
}

PLACES: dict[str, str] = {
    "keys": MAIN, "key": MAIN, "value": MAIN, "values": MAIN, "group_by": MAIN, "groups": MAIN,
    "filter": MAIN, "columns": MAIN, "features": MAIN, "label": MAIN, "positive": MAIN,
    "calls": MAIN, "duration_s": MAIN,
    "output_to": RESULT, "deliver_to_consumer": RESULT, "output_columns": RESULT, "label_columns": RESULT,
    "join": RESULT, "measures": RESULT, "label_rows": RESULT,
    "normalise": COMPARED,
    "max_elements": BOUNDS, "max_record_bytes": BOUNDS, "max_rounds": BOUNDS, "pad_queries_to": BOUNDS,
    "protocol": PROTOCOL, "curve": PROTOCOL, "scheme": PROTOCOL, "security": PROTOCOL,
    "low_communication": PROTOCOL, "link_mbit_s": PROTOCOL, "result_check": PROTOCOL,
    "l2": PROTOCOL, "tolerance": PROTOCOL,
}  # fmt: skip

# Choices by the field and the value; "" for a value that means the same in every field.
OPTIONS: dict[tuple[str, str], Word] = {
    ("case", "keep"): _("keep as they are"),
    ("case", "fold"): _("treat as equal"),
    ("unicode", "nfc"): _("NFC: same characters"),
    ("unicode", "nfkc"): _("NFKC: full width and half width are equal too"),
    ("forms", "text"): _("text"),
    ("forms", "digits"): _("digits"),
    ("forms", "integer"): _("whole number"),
    ("forms", "phone"): _("phone number"),
    ("forms", "cn_id"): _("Chinese resident ID"),
    ("forms", "email"): _("e-mail address"),
    ("protocol", "auto"): _("automatic"),
    ("protocol", "ecdh"): _("ECDH: for small sets"),
    ("protocol", "rr22"): _("RR22: least computing, for sets of like size"),
    ("protocol", "unbalanced"): _("unbalanced: a small set against a large, prepared one"),
    ("curve", "curve25519"): _("Curve25519: fastest"),
    ("curve", "sm2"): _("SM2: for GM compliance"),
    ("curve", "secp256k1"): "secp256k1",
    ("security", "semi_honest"): _("semi-honest: the peer keeps to the protocol"),
    ("security", "malicious"): _("malicious: the peer may deviate"),
    ("scheme", "paillier"): _("Paillier: the older assumption"),
    ("scheme", "ou"): _("Okamoto–Uchiyama: faster"),
    ("label_rows", "refuse"): _("end the job"),
    ("label_rows", "first"): _("give out the first one"),
    ("measures", "intersection"): _("keys that both sides have"),
    ("measures", "union"): _("keys that either side has"),
    ("join", "inner"): pgettext_lazy("join", "inner: matching rows"),
    ("join", "left"): pgettext_lazy("join", "left: all rows of the side that learns the result"),
}


def label(name: str) -> str:
    """What a parameter is called."""
    return str(LABELS.get(name, name))


def help_text(name: str) -> str:
    """What it does; empty where the label says it."""
    return str(HELP.get(name, ""))


def place(name: str) -> str:
    """The group that a top-level parameter stands in; what is not known is for people who know."""
    return PLACES.get(name, PROTOCOL)


def rank(name: str) -> int:
    """Order inside a group: the order of LABELS, which is the order people think in."""
    return [*LABELS].index(name) if name in LABELS else len(LABELS)


def option(field: str, value: object) -> str:
    """A choice in words."""
    return str(OPTIONS.get((field, str(value)), value))
