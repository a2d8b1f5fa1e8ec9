"""Puts every kind of job into the OpenAPI document: a schema of its parameters, and of an order of it.

`JobSpec` is one of the kinds' orders, told apart by ``kind``; so a generated client knows the parameters of
each. The schemas are the catalogue's: what stands there is what `market.jobs.parameters` checks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from compute.wire.messages import JobSpec, SignedRequest
from market.jobs.kinds import job_kinds

_COMPONENTS = "#/components/schemas/"


def add_kinds(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """A post-processing hook of drf-spectacular."""
    schemas: dict[str, Any] = result["components"]["schemas"]
    _, documents = msgspec.json.schema_components(
        [JobSpec, SignedRequest], ref_template=_COMPONENTS + "{name}"
    )
    order = documents.pop("JobSpec")
    schemas.update(documents)
    mapping: dict[str, str] = {}
    for kind in job_kinds():
        name = _camel(kind["name"])
        parameters = f"JobParams{name}"
        schemas.update(_parameters(kind, parameters))
        schemas[f"JobSpec{name}"] = {
            **order,
            "title": f"JobSpec{name}",
            "description": f"An order of {kind['name']}; one unit is one {kind['unit']}.",
            "properties": {
                **order["properties"],
                "kind": {"type": "string", "enum": [kind["name"]]},
                "params": {"$ref": _COMPONENTS + parameters},
            },
        }
        mapping[kind["name"]] = f"{_COMPONENTS}JobSpec{name}"
    schemas["JobSpec"] = {
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "kind", "mapping": mapping},
    }
    given = schemas["JobInput"]["properties"]
    given["spec"] = {"$ref": _COMPONENTS + "JobSpec"}
    given["request"] = {"$ref": _COMPONENTS + "SignedRequest"}
    return result


def _parameters(kind: dict[str, Any], name: str) -> dict[str, Any]:
    """The kind's schema as components: its main type is called ``name``, the others ``name`` + their own."""
    document = kind["schema"]
    main = str(document["$ref"]).rpartition("/")[2]

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: _COMPONENTS + called(str(item).rpartition("/")[2]) if key == "$ref" else renamed(item)
                for key, item in value.items()
            }
        return [renamed(item) for item in value] if isinstance(value, list) else value

    def called(type_name: str) -> str:
        return name if type_name == main else f"{name}{type_name}"

    return {called(type_name): renamed(schema) for type_name, schema in document["$defs"].items()}


def _camel(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.replace("_", ".").split("."))
