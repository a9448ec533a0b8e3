"""The public surface: the OpenAPI document, the catalogue behind it, the frozen copy, and a fuzzer that believes the document."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema_rs import Draft202012Validator, meta
from schemathesis import GenerationMode, checks
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as conformance

from codeb.entry.surface import openapi, path_of, surface
from codeb.entry.version import VERSION
from codeb.gate.validate import validate, wire_names
from codeb.tools.catalog import BY_NAME, TOOLS
from tests.ports import free_block
from tests.real_registry import serving
from tests.stage import Stage

FULL = os.environ.get("CODEB_TEST_SIZE") == "full"
EXAMPLES = 200 if FULL else 12
LEAST_CALLS = 10_000
"""of the fuzzer, in the full size"""
ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = json.loads(json.dumps(openapi(VERSION)))
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def nodes(value: Any, where: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its place."""
    if isinstance(value, dict):
        yield where, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in pairs:
        yield from nodes(each, f"{where}/{name}")


def resolved(ref: str) -> Any:
    found: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_document_has_the_shape_of_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"] == VERSION
    for path, item in DOCUMENT["paths"].items():
        assert path.startswith("/")
        assert set(item) <= METHODS
        for operation in item.values():
            assert operation["operationId"]
            assert operation["responses"]
            assert all(number.isdigit() and each["description"] for number, each in operation["responses"].items())
            for parameter in operation.get("parameters", []):
                assert set(parameter) >= {"name", "in", "schema"}
    ids = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    for scheme in DOCUMENT["security"]:
        assert set(scheme) <= set(DOCUMENT["components"]["securitySchemes"])


def test_every_reference_leads_somewhere() -> None:
    refs = [node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)]
    assert len(refs) > 3 * len(TOOLS)
    for ref in refs:
        assert isinstance(resolved(ref), dict), ref


def test_every_schema_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert schema, name


def body_schema(tool: str) -> dict[str, Any]:
    """The params schema of a tool as the document has it, with what it refers to."""
    content = DOCUMENT["paths"][path_of(BY_NAME[tool])]["post"]["requestBody"]["content"]["application/json"]
    return {**content["schema"], "components": DOCUMENT["components"]}


def test_every_tool_has_its_path_and_every_path_is_known() -> None:
    known = {path_of(tool): tool.name for tool in TOOLS}
    also = [alias for tool in TOOLS for alias in tool.aliases]
    assert also == ["project_create"]
    known |= {"/api/project/create": "project_create"}
    said = {path: item["post"]["operationId"] for path, item in DOCUMENT["paths"].items() if "post" in item}
    assert said == known | {"/api/tool": "tool"}
    words = resolved("#/paths/~1api~1tool/post/requestBody/content/application~1json/schema/properties/tool/enum")
    assert sorted(words) == sorted([*(tool.name for tool in TOOLS), *also])


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
def test_params_in_the_document_are_those_of_the_model(tool: str) -> None:
    schema = resolved(body_schema(tool)["$ref"])
    model = BY_NAME[tool].params
    assert schema["additionalProperties"] is False
    assert list(schema.get("properties", {})) == wire_names(model)
    required = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    assert schema.get("required", []) == required
    for name in schema.get("properties", {}):
        assert name.isalnum(), name
        assert name[0].islower(), name
    changing = {"dryRun", "planId", "idempotencyKey"}
    assert (changing <= set(schema.get("properties", {}))) is BY_NAME[tool].changes
    assert ("wait" in schema.get("properties", {})) is BY_NAME[tool].long


def test_results_are_closed_and_camel_case() -> None:
    for tool in TOOLS:
        schema = tool.result.model_json_schema(by_alias=True, mode="serialization")
        assert schema["additionalProperties"] is False
        for where, node in nodes(schema):
            for name in node.get("properties", {}) if isinstance(node.get("properties"), dict) else ():
                assert "_" not in name, f"{tool.name} {where}: {name}"


def test_every_example_fits_its_own_schema_and_its_grammar() -> None:
    tried = 0
    for tool in TOOLS:
        schema = tool.params.model_json_schema(by_alias=True)
        base = {name: _example(said) for name, said in schema["properties"].items() if name in schema.get("required", [])}
        for name, said in schema["properties"].items():
            for each in [said, *said.get("anyOf", [])]:
                for example in each.get("examples", []):
                    assert Draft202012Validator(each).is_valid(example)
                    validate(tool.params, {**base, name: example})
                    tried += 1
    assert tried > 20


def _example(schema: dict[str, Any]) -> Any:
    if schema.get("examples"):
        return schema["examples"][0]
    return 4100 if schema["type"] == "integer" else "op_0123456789abcdef"


def test_every_default_is_one_that_a_caller_could_say() -> None:
    for tool in TOOLS:
        schema = tool.params.model_json_schema(by_alias=True)
        base = {name: _example(said) for name, said in schema["properties"].items() if name in schema.get("required", [])}
        said = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
        validate(tool.params, {**base, **said})


def test_the_frozen_surface_is_what_the_catalogue_says() -> None:
    frozen = json.loads((ROOT / "docs" / "tools.lock.json").read_text())
    assert frozen == json.loads(json.dumps(surface()))
    run = subprocess.run([sys.executable, "scripts/surface.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


# --- a fuzzer that believes the document -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving(free_block(1)) as registry, Stage(pairs=20, **registry.settings) as made:
        made.call("project_create", projectName="shop")
        yield made


CHECKS = [
    checks.not_a_server_error, conformance.status_code_conformance, conformance.content_type_conformance,
    conformance.response_schema_conformance, conformance.negative_data_rejection, conformance.ignored_auth,
]  # fmt: skip


@pytest.fixture(scope="module")
def operations(stage: Stage) -> dict[str, Any]:
    """What the fuzzer reads from the running server's own document, by operation."""
    base = f"http://127.0.0.1:{stage.api_port}"
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    schema.config.update(base_url=base)
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    return {each.definition.raw["operationId"]: each for each in found}


FUZZED: Counter[tuple[str, GenerationMode]] = Counter()
"""calls that were made and checked, by operation; what a check asks for itself, such as the same without a key, not counted"""


@pytest.mark.docker
@pytest.mark.timeout(1800 if FULL else 300)  # audit_verify reads the whole log, which grows with every call
@pytest.mark.proxy
@pytest.mark.images
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("name", ["health", "tool", *BY_NAME])
def test_the_server_answers_as_the_document_says(
    operations: dict[str, Any], stage: Stage, name: str, mode: GenerationMode
) -> None:
    if name == "health" and mode is GenerationMode.NEGATIVE:
        assert "requestBody" not in operations[name].definition.raw, "there is nothing to get wrong"
        return
    key = {"X-API-Key": stage.key}

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def fuzz(case: Any) -> None:
        case.call_and_validate(headers=key, checks=CHECKS, timeout=20)
        FUZZED[name, mode] += 1

    fuzz()


@pytest.mark.docker
@pytest.mark.proxy
@pytest.mark.images
def test_the_fuzzer_left_a_server_in_good_order(stage: Stage) -> None:
    assert "Traceback" not in stage.log
    assert stage.call("health_check")["status"] in ("pass", "warn")
    print(f"\n{FUZZED.total()} fuzzed calls of {len({name for name, _ in FUZZED})} operations")
    if FULL and len(FUZZED) == 2 * len(BY_NAME) + 3:
        assert FUZZED.total() >= LEAST_CALLS
