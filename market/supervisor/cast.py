"""Who takes part in the market that `make up` and `make demo` start.

Names appear in the portal in both languages. Dataset files are cut by `compute.demo.data`; ids are random
and made at the first start, here only what does not change from one installation to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

_MEASURES = {
    "radius": "mean distance from centre to perimeter of the nuclei",
    "texture": "standard deviation of grey values",
    "perimeter": "perimeter of the nuclei",
    "area": "area of the nuclei",
    "smoothness": "local variation in radius lengths",
    "compactness": "perimeter² / area − 1",
    "concavity": "severity of concave portions of the contour",
    "concave_points": "number of concave portions of the contour",
    "symmetry": "symmetry of the nuclei",
    "fractal_dimension": "coastline approximation − 1",
}


@dataclass(frozen=True)
class ColumnPlan:
    """One declared column: type and grade as in `compute.wire.messages.Column`."""

    name: str
    type: str
    grade: str
    description: str
    nullable: bool = False


@dataclass(frozen=True)
class DatasetPlan:
    """A dataset that a node declares. ``file`` is None for a service."""

    key: str
    name: str
    description: str
    operations: tuple[str, ...]
    file: str | None = None
    columns: tuple[ColumnPlan, ...] = ()
    keys: tuple[str, ...] = ("patient_id",)
    min_cohort: int = 5


@dataclass(frozen=True)
class PartyPlan:
    """A party: roles, and datasets if it runs a node. ``logins`` maps user names to roles."""

    key: str
    name: str
    name_zh: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    logins: dict[str, tuple[str, ...]]
    datasets: tuple[DatasetPlan, ...] = ()

    @property
    def has_node(self) -> bool:
        """Whether the party stands next to data and so runs a node."""
        return bool(self.datasets)


def _columns(statistic: str) -> tuple[ColumnPlan, ...]:
    return tuple(
        ColumnPlan(
            f"{statistic}_{measure}" if statistic != "error" else f"{measure}_error",
            "number",
            "L3",
            {"mean": "", "error": "standard error of: ", "worst": "mean of the three largest: "}[statistic]
            + text,
        )
        for measure, text in _MEASURES.items()
    )


_PATIENT = ColumnPlan("patient_id", "string", "L3", "hospital's patient number")
_DIAGNOSIS = ColumnPlan("diagnosis", "string", "L3", "malignant or benign, by histology")


def _hospital(which: str) -> DatasetPlan:
    return DatasetPlan(
        key="patients",
        name=f"Breast cytology, Hospital {which}",
        description="Diagnosis and the mean of ten nuclear measures per patient, from fine-needle aspirates.",
        operations=("psi", "stats", "fl"),
        file=f"hospital-{which.lower()}.csv",
        columns=(_PATIENT, _DIAGNOSIS, *_columns("mean")),
    )


def _board(which: str) -> DatasetPlan:
    return DatasetPlan(
        key="board",
        name=f"Tumour board, Hospital {which}",
        description="Patients, of this hospital and of others, whose case its tumour board discussed.",
        operations=("psi",),
        file=f"board-{which.lower()}.csv",
        columns=(_PATIENT,),
    )


_FLIGHTS = DatasetPlan(
    key="flights",
    name="Departures from New York, 2013",
    description="336,776 flights from JFK, LaGuardia and Newark: aircraft, route, delays.",
    operations=("pir",),
    file="flights.parquet",
    columns=(
        ColumnPlan("flight_date", "date", "L2", "day of the scheduled departure"),
        ColumnPlan("carrier", "string", "L2", "airline, two letters or digits"),
        ColumnPlan("flight", "integer", "L2", "flight number"),
        ColumnPlan("origin", "string", "L2", "airport of departure, IATA code"),
        ColumnPlan("destination", "string", "L2", "airport of arrival, IATA code"),
        ColumnPlan("tail_number", "string", "L3", "registration of the aircraft", nullable=True),
        ColumnPlan("departure_delay", "integer", "L2", "minutes; negative if early", nullable=True),
        ColumnPlan("arrival_delay", "integer", "L2", "minutes; negative if early", nullable=True),
        ColumnPlan("distance", "integer", "L1", "miles"),
    ),
    keys=("carrier", "flight", "flight_date", "origin"),
)

CAST: tuple[PartyPlan, ...] = (
    PartyPlan(
        "hospital-east",
        "Hospital East",
        "东区医院",
        ("provider",),
        ("read", "catalog", "grants"),
        {"east": ("provider",)},
        (_hospital("East"), _board("East")),
    ),
    PartyPlan(
        "hospital-west",
        "Hospital West",
        "西区医院",
        ("provider",),
        ("read", "catalog", "grants"),
        {"west": ("provider",)},
        (_hospital("West"), _board("West")),
    ),
    PartyPlan(
        "laboratory",
        "Laboratory",
        "检验中心",
        ("provider",),
        ("read", "catalog", "grants"),
        {"laboratory": ("provider",)},
        (
            DatasetPlan(
                key="panel",
                name="Laboratory panel v3",
                description="Standard error and worst value of ten nuclear measures per patient.",
                operations=("psi", "stats", "pir"),
                file="laboratory.parquet",
                columns=(_PATIENT, *_columns("error"), *_columns("worst")),
            ),
            DatasetPlan(
                key="encryption",
                name="Laboratory encryption service",
                description="Paillier, SM2 and SM4 keys that stay in the laboratory's node; one unit a call.",
                operations=("eaas",),
                min_cohort=1,
            ),
        ),
    ),
    PartyPlan(
        "airport",
        "Airport Authority",
        "机场管理局",
        ("provider",),
        ("read", "catalog", "grants"),
        {"airport": ("provider",)},
        (_FLIGHTS,),
    ),
    PartyPlan(
        "research-institute",
        "Research Institute",
        "研究院",
        ("consumer",),
        ("read", "grants", "jobs"),
        {"research": ("consumer",)},
    ),
    PartyPlan(
        "regulator",
        "Data Authority",
        "数据管理局",
        ("regulator",),
        ("read", "audit"),
        {"regulator": ("regulator",)},
    ),
    PartyPlan(
        "operator",
        "Market Operator",
        "市场运营方",
        ("operator",),
        ("read", "audit", "operate"),
        {"operator": ("operator",)},
    ),
)
