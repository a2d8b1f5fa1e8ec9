"""Recorded runs: ``python -m tests.compute.protocols.vectors`` rewrites the vectors of every protocol.

A vector holds inputs, seeds and what must come out. Where a run is deterministic (curve, hashes, exact
integers) every message is in it; where it rests on floating point or on a cache, results and sizes are.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from compute.protocols.fl.logistic.masking import Masks
from compute.protocols.local import LocalRun
from tests.compute.protocols.jobs import Job

ROOT = Path(__file__).parents[3] / "compute" / "protocols"

PSI = {
    "kind": "psi",
    "seed": "vector",
    "floor": 1,
    "params": {
        "keys": {"left": ["id"], "right": ["pid"]},
        "normalise": {"case": "fold"},
        "output_to": ["left", "right"],
    },
    "tables": {
        "left": {"id": ["Zoe\u0308", "张伟", "Bob", "Bob", None]},
        "right": {"pid": ["bob", "ZOË ", "Ann", "x"]},
    },
}
PSI_RR22 = PSI | {"params": PSI["params"] | {"protocol": "rr22", "label_columns": {"right": ["pid"]}}}
ROW = {
    "kind": "pir.row",
    "seed": "vector",
    "floor": 1,
    "params": {"columns": ["n"], "rows": [1, 3]},
    "tables": {"server": {"n": ["zero", "一", "two"]}},
}
KEYWORD = {
    "kind": "pir.keyword",
    "seed": "vector",
    "floor": 1,
    "params": {"columns": ["n"], "key": ["k"], "keywords": [["b"], ["none"]]},
    "tables": {"server": {"k": ["a", "b", "b"], "n": [1, 2, 3]}},
}
MEMBER = {
    "kind": "pir.member",
    "seed": "vector",
    "floor": 1,
    "params": {"key": ["k"], "keywords": [["b"], ["none"], ["a"]]},
    "tables": {"server": {"k": ["a", "b", "b"]}},
}
VERTICAL = {
    "kind": "stats.vertical",
    "seed": "vector",
    "floor": 2,
    "params": {
        "keys": {"values": ["id"], "members": ["pid"]},
        "value": "v",
        "group_by": "g",
        "groups": ["x", "y"],
        "key_bits": 2048,
    },
    "tables": {
        "values": {
            "id": ["a", "b", "c", "d", "e"],
            "v": [1.5, -2.5, 4.0, 10.0, 20.0],
            "g": ["x", "x", "x", "y", "y"],
        },
        "members": {"pid": ["a", "b", "c", "d", "z"]},
    },
}
HORIZONTAL = {
    "kind": "stats.horizontal",
    "seed": "vector",
    "floor": 2,
    "params": {"value": "v", "key_bits": 2048},
    "tables": {"p1": {"v": [1, 2]}, "p2": {"v": [3, 4, 8]}},
}
FL = {
    "kind": "fl.logistic",
    "seed": "vector",
    "floor": 2,
    "params": {"features": ["x"], "label": "d", "positive": "yes", "l2": "0.5"},
    "tables": {
        "p1": {"x": [0.5, 1.0, 2.5], "d": ["no", "no", "yes"]},
        "p2": {"x": [1.5, 3.0, 4.0], "d": ["yes", "no", "yes"]},
    },
}

CARDINALITY = {
    "kind": "psi.cardinality",
    "seed": "vector",
    "floor": 1,
    "params": {
        "keys": {"left": ["id"], "right": ["pid"]},
        "measures": ["intersection", "union"],
        "output_to": ["left", "right"],
        "curve": "sm2",
    },
    "tables": {"left": {"id": ["a", "b", "b", None]}, "right": {"pid": ["b", "c", "d"]}},
}
SUM = {
    "kind": "psi.sum",
    "seed": "vector",
    "floor": 1,
    "params": {
        "keys": {"values": ["id"], "members": ["pid"]},
        "values": ["v", "w"],
        "scheme": "ou",
        "key_bits": 2048,
    },
    "tables": {
        "values": {"id": ["a", "b", "b", "c"], "v": [0.5, -2.25, 4.0, 100.0], "w": [1, 2, 3, 4]},
        "members": {"pid": ["b", "a", "z"]},
    },
}
MANY = {
    "kind": "psi.many",
    "seed": "vector",
    "floor": 1,
    "params": {"keys": {"p1": ["a"], "p2": ["b"], "p3": ["c"]}, "output_to": ["p2", "p1"]},
    "tables": {"p1": {"a": ["x", "y", "z"]}, "p2": {"b": ["z", "y"]}, "p3": {"c": ["y", "w", "z", "x"]}},
}


def job_of(case: dict[str, Any]) -> Job:
    tables = {role: pa.table(columns) for role, columns in case["tables"].items()}
    return Job(case["kind"], case["params"], tables, floor=case["floor"], seed=case["seed"])


def sizes(run: LocalRun) -> list[list[Any]]:
    return [[m.sender, m.receiver, len(m.data)] for m in run.wire]


def recorded(case: dict[str, Any], *, messages: str) -> dict[str, Any]:
    job = job_of(case)
    run = job.run()
    document = dict(case) | {"binding": job.binding.hex(), "result": job.open(run)}
    if messages == "whole":
        document["messages"] = [[m.sender, m.receiver, m.data.hex()] for m in run.wire]
        document["transcript"] = run.transcripts[job.roles[0]].digest().hex()
    elif messages == "digests":
        document["messages"] = [[m.sender, m.receiver, hashlib.sha256(m.data).hexdigest()] for m in run.wire]
    else:
        document["sizes"] = sizes(run)
    return document


def masks() -> dict[str, Any]:
    seed, heard = bytes(range(32)), hashlib.sha256(b"heard").digest()
    case = {"seed": seed.hex(), "heard": heard.hex(), "round": 3, "vector": [0, 5, -7]}
    return case | {
        "p1": Masks("p1", {"p2": seed}).mask([0, 5, -7], 3, heard).hex(),
        "p2": Masks("p2", {"p1": seed}).mask([0, 5, -7], 3, heard).hex(),
    }


def files() -> dict[Path, Any]:
    return {
        ROOT / "psi/intersect/vectors/ecdh.json": recorded(PSI, messages="sizes"),
        ROOT / "psi/intersect/vectors/rr22.json": recorded(PSI_RR22, messages="sizes"),
        ROOT / "psi/cardinality/vectors/basic.json": recorded(CARDINALITY, messages="digests"),
        ROOT / "psi/sum/vectors/basic.json": recorded(SUM, messages="sizes"),
        ROOT / "psi/many/vectors/basic.json": recorded(MANY, messages="digests"),
        ROOT / "pir/simple/vectors/row.json": recorded(ROW, messages="digests"),
        ROOT / "pir/simple/vectors/keyword.json": recorded(KEYWORD, messages="digests"),
        ROOT / "pir/simple/vectors/member.json": recorded(MEMBER, messages="digests"),
        ROOT / "stats/vertical/vectors/basic.json": recorded(VERTICAL, messages="sizes"),
        ROOT / "stats/horizontal/vectors/basic.json": recorded(HORIZONTAL, messages="sizes"),
        ROOT / "fl/logistic/vectors/basic.json": recorded(FL, messages="sizes"),
        ROOT / "fl/logistic/vectors/masks.json": masks(),
    }


if __name__ == "__main__":
    for path, document in files().items():
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
