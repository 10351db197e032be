"""What finance asked for last and nobody has approved yet: the newest thing in the demo.

Written at the very end: that the last request is there says that all of the demo's data is.
"""

from typing import NamedTuple

from popolni.agents.models import Contract
from popolni.agents.staff import User
from popolni.catalog.promotions.models import PromotionBudget
from popolni.embedded.demo_data.catalogue import GIB, minor
from popolni.topups.adjustments import ask
from popolni.topups.models import Adjustment


class _Request(NamedTuple):
    kind: Adjustment.Kind
    branch: str
    what: str
    """An agent's or a promotion's code."""
    amount: int
    reason: str


_FLOAT, _BUDGET = Adjustment.Kind.FLOAT_FUNDING, Adjustment.Kind.BUDGET_FUNDING
REQUESTS = (
    _Request(_FLOAT, "mts-siberia", "lukoshko", minor(25_000),
             "Платёжное поручение № 4471: депозит почти исчерпан"),
    _Request(_FLOAT, "megafon-ural", "bystro", minor(18_000),
             "Платёжное поручение № 4472: депозит почти исчерпан"),
    _Request(_FLOAT, "beeline-moscow", "bystro", minor(120_000),
             "Платёжное поручение № 4473: запас на праздники"),
    _Request(_BUDGET, "beeline-northwest", "beeline-gib", 500 * GIB,
             "Продление акции в регионе по приказу № 88"),
)  # fmt: skip


def is_asked() -> bool:
    """Whether the last request was made, and so all before it."""
    return Adjustment.objects.filter(reason=REQUESTS[-1].reason).exists()


def write_requests() -> None:
    """Asks for what was not asked for yet."""
    finance = User.objects.get(username="finance")
    for request in REQUESTS:
        if not Adjustment.objects.filter(reason=request.reason).exists():
            ask(request.kind, _target(request), request.amount, request.reason, by=finance)


def _target(request: _Request) -> Contract | PromotionBudget:
    if request.kind is _FLOAT:
        return Contract.objects.select_related("branch").get(
            branch__code=request.branch, agent__code=request.what
        )
    return PromotionBudget.objects.select_related("branch", "promotion").get(
        branch__code=request.branch, promotion__code=request.what
    )
