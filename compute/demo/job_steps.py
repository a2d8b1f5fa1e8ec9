"""The steps that compute: PSI, statistics, PIR, FL and encryption, each beside its plaintext answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from compute.demo import truth
from compute.demo.data import FLIGHT_KEY, KEY
from compute.demo.report import close
from compute.sdk import questions

if TYPE_CHECKING:
    from compute.demo.story import Story

# The second flew twice that day, from two airports.
FLIGHTS = (("UA", "1545", "2013-01-01"), ("WN", "2269", "2013-06-29"))
GROUPS = ("malignant", "benign")
L2 = "1.0"


def psi(story: Story) -> str:
    """Which patients of East has the laboratory seen? East's node learns it and seals it to the institute."""
    result = _run(
        story,
        "psi",
        {"left": "east", "right": "panel"},
        {"keys": {"left": [KEY], "right": [KEY]}, "output_to": ["left"], "max_elements": 600},
    )
    expected = truth.shared_patients(story.data.east, story.data.laboratory)
    count = result["count"]
    found = sorted(row[0] for row in result["left"]["rows"])
    story.report.psi = {"expected": len(expected), "found": result["count"]}
    story.expect(
        result["count"] == len(expected), f"PSI finds {len(expected)} patients, not {result['count']}"
    )
    story.expect(found == expected, "PSI finds exactly the shared patients")
    return f"{count} shared patients of {story.data.east.num_rows} and {story.data.laboratory.num_rows}"


def psi_many(story: Story) -> str:
    """Patients whom both tumour boards discussed and the laboratory has seen: three parties, one answer."""
    parties = {"p1": "board-east", "p2": "board-west", "p3": "panel"}
    result = _run(
        story,
        "psi.many",
        parties,
        {"keys": {role: [KEY] for role in parties}, "output_to": ["p1"], "max_elements": 600},
    )
    data = story.data
    expected = truth.shared_patients(data.board_east, data.board_west, data.laboratory)
    found = sorted(row[0] for row in result["p1"]["rows"])
    story.report.psi_many = {"parties": len(parties), "expected": len(expected), "found": result["count"]}
    story.expect(
        result["count"] == len(expected),
        f"the three share {len(expected)} patients, not {result['count']}",
    )
    story.expect(found == expected, "exactly the patients that all three have")
    story.expect(result["p2"] is None and result["p3"] is None, "only the first party's node learned them")
    sizes = (data.board_east.num_rows, data.board_west.num_rows, data.laboratory.num_rows)
    return f"{result['count']} patients of all three, from {sizes[0]}, {sizes[1]} and {sizes[2]}"


def vertical(story: Story) -> str:
    """Mean radius by diagnosis over East's patients that the laboratory has seen; rows stay apart."""
    result = _run(
        story,
        "stats.vertical",
        {"values": "east", "members": "panel"},
        {
            "keys": {"values": [KEY], "members": [KEY]},
            "value": "mean_radius",
            "group_by": "diagnosis",
            "groups": list(GROUPS),
            "max_elements": 600,
        },
    )
    _compare(story, "vertical", result, truth.seen_by(story.data.east, story.data.laboratory))
    return _means(result)


def horizontal(story: Story) -> str:
    """The same over all patients of both hospitals; neither learns the other's part."""
    result = _run(
        story,
        "stats.horizontal",
        {"p1": "east", "p2": "west"},
        {"value": "mean_radius", "group_by": "diagnosis", "groups": list(GROUPS)},
    )
    _compare(story, "horizontal", result, pa.concat_tables([story.data.east, story.data.west]))
    return _means(result)


def pir(story: Story) -> str:
    """The laboratory's record of one patient, without the laboratory learning of whom."""
    from compute.demo.story import patient_of_interest

    patient = patient_of_interest(story)
    columns = [name for name in story.data.laboratory.column_names if name != KEY]
    result = _run(
        story, "pir.keyword", {"server": "panel"}, {"columns": columns, "key": [KEY], "keywords": [[patient]]}
    )
    expected = truth.record(story.data, patient, columns)
    answer = result["answers"][0]
    found = answer["records"][0] if answer["records"] else None
    story.report.pir = {"expected": expected, "found": found}
    story.expect(answer["found"] and len(answer["records"]) == 1, "PIR finds exactly one record")
    story.expect(found == expected, "the record is the laboratory's")
    return f"{len(columns)} columns of one patient; the laboratory learned that one query was made"


def member(story: Story) -> str:
    """Does the laboratory know these two? Yes or no, and it learns neither who nor how many were meant."""
    known = truth.shared_patients(story.data.east, story.data.laboratory)[0]
    answers = story.research.member(story.grant("panel"), [known, "P0000-000000-0"], key=KEY)
    story.report.member = {"expected": [True, False], "found": answers}
    story.expect(answers == [True, False], f"the first is known and the second is not: {answers}")
    return "one of two patients is known to the laboratory, which learned that two queries were made"


def flights(story: Story) -> str:
    """Single flights among all that left New York in 2013; the second lookup finds the hint in its cache."""
    from compute.demo.story import PURPOSE

    columns = ["origin", "destination", "tail_number", "departure_delay", "arrival_delay", "distance"]
    looked_up = []
    for keyword in FLIGHTS:
        started = time.monotonic()
        question = questions.lookup(story.grant("flights"), [keyword], key=list(FLIGHT_KEY), columns=columns)
        result = story.research.ask(
            question, purpose=PURPOSE, deadline_s=600, on_progress=story.screen.progress
        )
        found = result.value["answers"][0]["records"]
        expected = truth.flights(story.data, keyword, columns)
        looked_up.append(
            {
                "keyword": list(keyword),
                "expected": expected,
                "found": found,
                "hint_bytes": result.metrics["hint_bytes"],
                "seconds": round(time.monotonic() - started, 2),
            }
        )
        story.expect(
            _sorted(found) == _sorted(expected), f"{' '.join(keyword)}: the records are the airport's"
        )
    story.report.flights = {"rows": story.data.flights.num_rows, "lookups": looked_up}
    first, second = looked_up[0]["hint_bytes"], looked_up[1]["hint_bytes"]
    story.expect(first > 0, "the first lookup downloads the hint of this version")
    story.expect(second == 0, f"the second finds it in the cache, and downloads nothing, not {second} bytes")
    late = looked_up[0]["found"][0]["arrival_delay"] if looked_up[0]["found"] else None
    return (
        f"{' '.join(FLIGHTS[0])} of {story.data.flights.num_rows:,} flights was {late} minutes late; "
        f"hint {first / 1e6:.1f} MB, then 0 ({looked_up[0]['seconds']} s, {looked_up[1]['seconds']} s)"
    )


def _sorted(records: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, records))


def fl(story: Story) -> str:
    """Malignant or benign from ten measures, fitted over both hospitals without moving a row."""
    from compute.demo.story import MEANS

    result = _run(
        story,
        "fl.logistic",
        {"p1": "east", "p2": "west"},
        {"features": list(MEANS), "label": "diagnosis", "positive": "malignant", "l2": L2, "max_rounds": 20},
    )
    central = truth.CentralModel([story.data.east, story.data.west], MEANS, float(L2))
    federated = central.auc(result["intercept"], result["coefficients"])
    centralised = central.auc(central.intercept, central.coefficients)
    story.report.fl = {"federated_auc": federated, "centralised_auc": centralised}
    story.expect(bool(result["converged"]), "the fit converged")
    story.expect(
        abs(federated - centralised) <= 1e-6, f"AUC {federated} equals the centralised {centralised}"
    )
    for name, weight in central.coefficients.items():
        story.expect(
            abs(result["coefficients"][name] - weight) <= 1e-6 * max(1.0, abs(weight)),
            f"coefficient {name}: {result['coefficients'][name]} equals the centralised {weight}",
        )
    return f"AUC {federated:.6f}, centralised {centralised:.6f}, {result['rounds']} rounds"


def eaas(story: Story) -> str:
    """Keys that never leave the laboratory's node; every call is one unit of the grant."""
    from compute.demo.story import PURPOSE

    session = story.research.eaas.open(story.grant("encryption"), purpose=PURPOSE, calls=10, duration_s=120)
    with session:
        paillier = session.create_key("paillier", bits=2048)
        first = session.encrypt(paillier, [1200, "-7.5"])
        second = session.encrypt(paillier, [34, "0.25"])
        total = session.decrypt(paillier, session.add(paillier, first, second))
        story.expect(
            [float(value) for value in total] == [1234.0, -7.25], f"1200+34 and -7.5+0.25, not {total}"
        )
        tripled = session.decrypt(paillier, session.multiply(paillier, first, [3, 2]))
        story.expect(
            [float(value) for value in tripled] == [3600.0, -15.0], f"1200·3 and -7.5·2, not {tripled}"
        )
        sm2 = session.create_key("sm2")
        signatures = session.sign(sm2, [b"panel v3"])
        story.expect(
            session.verify(sm2, [b"panel v3"], signatures) == [True], "SM2 accepts its own signature"
        )
        left = session.calls_left
    story.expect(left is not None and 0 <= left < 10, "every call is metered")
    return "Paillier sums and products, SM2 signature; keys stayed at the node"


def _run(story: Story, kind: str, roles: Mapping[str, str], params: Mapping[str, Any]) -> Any:
    from compute.demo.story import PURPOSE

    result = story.research.jobs.run(
        kind,
        purpose=PURPOSE,
        grants={role: story.grant(name) for role, name in roles.items()},
        params=params,
        deadline_s=300,
        on_progress=story.screen.progress,
    )
    return result.value


def _compare(story: Story, name: str, result: Any, table: pa.Table) -> None:
    for group in GROUPS:
        expected = truth.statistics(table, "mean_radius", group)
        found = result["groups"].get(group, {})
        for quantity, value in expected.items():
            federated = found.get(quantity)
            story.report.statistics[f"{name} {group} {quantity}"] = {
                "federated": federated,
                "plaintext": value,
            }
            story.expect(
                federated is not None and close(float(federated), value, 1e-9),
                f"{name} {quantity} of {group}: {federated} equals {value}",
            )


def _means(result: Any) -> str:
    return "mean radius " + ", ".join(
        f"{group} {numbers['mean']:.4f} (n={numbers['count']})" for group, numbers in result["groups"].items()
    )


def _numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts]
