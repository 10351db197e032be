"""A partner's program: it speaks JSON over HTTP, with nothing of ours."""

import json
from dataclasses import dataclass
from typing import Any

from popolni.core.refusal import Refusal
from tests.switch.support import Answer, Switch, basic, new_reference, password_of, request

PARTNER_CHANNEL_HAS_NO = {Refusal.AGENT_INACTIVE, Refusal.CANCELLED}
"""Who is off is not let in; and nothing can be cancelled before it came."""


@dataclass(frozen=True)
class Partner:
    """An agent's program."""

    port: int
    agent: str = "terminal"

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """A request as it is."""
        sent = {
            "Authorization": basic(self.agent, password_of(self.agent)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return request(self.port, method, path, headers=sent, body=body)

    def get(self, path: str) -> Answer:
        return self.send("GET", f"/api/v1{path}")

    def post(self, path: str, value: object = None) -> Answer:
        body = None if value is None else json.dumps(value).encode()
        return self.send("POST", f"/api/v1{path}", body, Content_Type="application/json")

    def top_up(self, number: object, amount_minor: int = 100_00, **more: Any) -> Answer:
        """A reference of its own, unless it is given."""
        reference = more.pop("reference", None) or new_reference()
        order = {"reference": reference, "number": number, "amount_minor": amount_minor}
        return self.post("/top-ups", {**order, "currency": "RUB", **more})


def partner(switch: Switch, agent: str = "terminal") -> Partner:
    return Partner(switch.port, agent)


def value_of(answer: Answer) -> Any:
    """What an answer says."""
    assert answer.header("content-type") in ("application/json", "application/problem+json")
    return json.loads(answer.body)


def problem_of(answer: Answer) -> tuple[int, str, dict[str, Any]]:
    """The status, the kind, and what else a problem says but for its texts."""
    assert answer.header("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem.pop("status") == answer.status
    assert problem.pop("title")
    kind = problem.pop("type").removeprefix("/problems/")
    assert problem["retry_helps"] == (answer.header("retry-after") is not None)
    problem.pop("detail", None)
    return answer.status, kind, problem
