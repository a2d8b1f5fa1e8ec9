"""The steps that compute: PSI, statistics, PIR, FL and encryption, each beside its plaintext answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from compute.demo import truth
from compute.demo.data import KEY
from compute.demo.report import close

if TYPE_CHECKING:
    from compute.demo.story import Story

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
