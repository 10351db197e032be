"""The document: what it says is so, and what it does not say is not answered."""

import json
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from popolni.core.channel import Channel
from popolni.switch.api import examples, model
from popolni.switch.api.app import HANDLERS
from popolni.switch.api.document import document
from popolni.switch.api.problems import Kind
from tests.switch.api.support import partner, value_of
from tests.switch.catalogue import new_number, unknown_number
from tests.switch.support import Switch, basic, new_reference, password_of

EXAMPLES_MAX = 25


@pytest.fixture(scope="module")
def described(switch: Switch) -> dict[str, Any]:
    answer = switch.get("/api/v1/openapi.json")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    found: dict[str, Any] = json.loads(answer.body)
    return found


def operations(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for path in described["paths"].values()
        for operation in path.values()
    }


def test_it_is_openapi_and_names_every_operation(described: dict[str, Any]) -> None:
    assert described == document(HANDLERS)
    assert described["openapi"].startswith("3.1")
    assert set(operations(described)) == {
        "top_up",
        "get_top_up",
        "list_top_ups",
        "reverse",
        "get_number",
        "get_float",
    }


def test_everything_is_described(described: dict[str, Any]) -> None:
    for name, operation in operations(described).items():
        assert operation["summary"], name
        assert operation["description"], name
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (name, parameter)
        for status, response in operation["responses"].items():
            assert response["description"], (name, status)


def test_every_example_is_as_the_schema_has_it(described: dict[str, Any]) -> None:
    count = 0
    for operation in operations(described).values():
        parts = [operation.get("requestBody", {"content": {}}), *operation["responses"].values()]
        for content in [one for part in parts for one in part.get("content", {}).values()]:
            schema = {**content["schema"], "components": described["components"]}
            check = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
            assert content["examples"]
            for example in content["examples"].values():
                check.validate(example["value"])
                count += 1
    assert count > 50


def test_every_problem_is_in_it(described: dict[str, Any]) -> None:
    shown = {
        example["value"]["type"]
        for operation in operations(described).values()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
        for example in content["examples"].values()
        if "type" in example["value"]
    }
    missing = {kind for kind in Kind if kind.type not in shown}
    assert missing == {Kind.METHOD_NOT_ALLOWED}


def test_the_example_is_answered_as_it_is_shown(switch: Switch) -> None:
    answer = partner(switch).top_up(new_number(), reference=new_reference())
    assert set(value_of(answer)) == set(model.Receipt.__struct_fields__)
    assert examples.CREDITED.state == value_of(answer)["state"]
    assert set(Channel) >= {examples.TOP_UP.channel}


# schemathesis


@pytest.fixture(scope="module")
def schema(switch: Switch, described: dict[str, Any]) -> Any:
    """The document, with what a generator cannot know: numbers and receipts that are there."""
    shop = partner(switch)
    receipts = [value_of(shop.top_up(new_number()))["id"] for _ in range(3)]
    config = SchemathesisConfig.from_dict(
        {
            "checks": {
                # A top-up may be as the document has it, and refused all the same.
                "positive_data_acceptance": {"expected-statuses": ["2xx", 404, 409, 422]},
                "negative_data_rejection": {
                    "expected-statuses": [400, 401, 404, 405, 413, 415, 422, 431]
                },
            },
        }
    )
    loaded = schemathesis.openapi.from_dict(described, config=config)
    loaded.config.update(base_url=f"http://127.0.0.1:{switch.port}")
    return loaded, receipts


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/v1/top-ups", "POST"),
        ("/api/v1/top-ups", "GET"),
        ("/api/v1/top-ups/{receipt}", "GET"),
        ("/api/v1/top-ups/{receipt}/reversal", "POST"),
        ("/api/v1/numbers/{number}", "GET"),
        ("/api/v1/float", "GET"),
    ],
)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode)
def test_no_answer_that_the_document_does_not_have(
    schema: Any, path: str, method: str, mode: schemathesis.GenerationMode
) -> None:
    loaded, receipts = schema
    operation = loaded[path][method]
    authorization = {"Authorization": basic("terminal", password_of("terminal"))}
    numbers = [new_number(), unknown_number()]

    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Any, data: st.DataObject) -> None:
        if mode is schemathesis.GenerationMode.POSITIVE:
            _aim(case, data, receipts, numbers)
        case.call_and_validate(headers=authorization)

    ask()


def _aim(case: Any, data: st.DataObject, receipts: list[str], numbers: list[int]) -> None:
    """Often at what is there."""
    for name, known in (("receipt", receipts), ("number", list(map(str, numbers)))):
        if name in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters[name] = data.draw(st.sampled_from(known))
    if isinstance(case.body, dict) and data.draw(st.booleans()):
        case.body |= {"number": data.draw(st.sampled_from(numbers)), "currency": "RUB"}
        case.body["amount_minor"] = data.draw(st.integers(10_00, 20_00))


def test_the_books_are_right_afterwards(switch: Switch) -> None:
    assert switch.faults() == []
