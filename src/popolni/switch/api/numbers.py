"""A number before money is taken for it: whose it is, what it takes, what an amount would bring."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from django.utils.translation import override
from litestar import get
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from popolni.catalog.formats import amount
from popolni.catalog.operators.rules import Identity
from popolni.catalog.promotions import rules as promotions
from popolni.core.channel import Channel
from popolni.core.method import Method
from popolni.core.number import TEXT_MAX, read_number
from popolni.core.refusal import AmountRange, Refusal
from popolni.ledger.balances import read_left
from popolni.ledger.chart import Kind as Account
from popolni.ledger.client import Steps
from popolni.ledger.model import Unit
from popolni.switch.api import examples
from popolni.switch.api.document import answers
from popolni.switch.api.model import (
    AMOUNT_MAX_MINOR,
    Bonus,
    NumberInfo,
    Offer,
    Operator,
    Renewal,
)
from popolni.switch.api.problems import Allowed, Kind, Trouble
from popolni.switch.api.requests import ApiRequest
from popolni.switch.program import one
from popolni.switch.words import LOCALES, masked_name
from popolni.topups.catalogue import BranchTerms, Catalogue
from popolni.topups.facts import NumberFacts, read_facts
from popolni.topups.quote import Quote, quote, read_holder
from popolni.topups.rules import Ask, least_amount, refuse

T = TypeVar("T")

ROUND_MINOR = (100_00, 300_00, 500_00, 1000_00)
"""Sums that people hand over."""
_UNITS: Mapping[Unit, Literal["money", "byte", "second", "message"]] = {
    Unit.MONEY: "money",
    Unit.BYTE: "byte",
    Unit.SECOND: "second",
    Unit.MESSAGE: "message",
}


@get(
    "/numbers/{number:str}",
    name="get_number",
    operation_id="get_number",
    summary="A number, and what an amount would bring it",
    responses=answers({200: (NumberInfo, "The number.", examples.NUMBER)}, Kind.NOT_FOUND),
)
async def get_number(
    request: ApiRequest,
    *,
    number: Annotated[
        str,
        PathParameter(
            description="Digits, or as people write it.",
            max_length=TEXT_MAX,
            examples=[Example(value="79160000001")],
        ),
    ],
    amount_minor: Annotated[
        int | None,
        QueryParameter(
            description="An amount to tell about, in minor units.", ge=1, le=AMOUNT_MAX_MINOR
        ),
    ] = None,
    method: Annotated[Method, QueryParameter(description="How the payer will pay.")] = Method.CASH,
    identity: Annotated[
        Identity | None, QueryParameter(description="How the payer has said who they are.")
    ] = None,
) -> NumberInfo:
    """Whose it is, whether it can be topped up and why not, by how much, and what that brings.

    It changes nothing and promises nothing: a moment later the float or a promotion's budget may
    be used up.
    """
    call = request.call
    call.amount_minor = amount_minor
    call.number = read_number(number) or read_number(f"+{number}")
    if call.number is None:
        raise Trouble(Kind.NOT_FOUND, "this is not a number")
    ask = Ask(Channel.API, call.agent, "", call.number, amount_minor or 0, method, identity)
    catalogue = call.program.catalogue()
    months = await call.program.months()
    facts = (await call.program.enquire(one(read_facts([ask.number], months)))).get(ask.number)
    branch = catalogue.branches.get(facts.branch_id) if facts else None
    if facts is None or branch is None:
        raise Trouble(Kind.NOT_FOUND, "there is no such number", refusal=Refusal.NUMBER_UNKNOWN)
    told = await call.program.enquire(_tell(catalogue, branch, ask, facts))
    call.outcome = str(told.refusal or "done")
    return told


def _tell(
    catalogue: Catalogue, branch: BranchTerms, ask: Ask, facts: NumberFacts
) -> Steps[NumberInfo]:
    now = datetime.now(UTC)
    known: dict[object, Any] = {}
    allowed = _allowed(catalogue, ask, facts, now)
    lacks = yield from _once(known, _plan_lacks(catalogue, branch, ask))

    def offer(amount_minor: int) -> Steps[Quote]:
        asked = ask._replace(amount_minor=amount_minor)
        return _once(known, quote(catalogue, asked, facts, now))

    # The smallest amount stands for all: what refuses it would refuse any.
    smallest = yield from offer(least_amount(catalogue, facts, ask.channel))
    asked = (yield from offer(ask.amount_minor)) if ask.amount_minor else None
    suggested: list[Quote] = []
    for amount_minor in _amounts_to_offer(allowed, lacks):
        suggested.append((yield from offer(amount_minor)))  # noqa: PERF401  # it yields
    return _number_info(ask, branch, smallest, allowed, lacks, asked, suggested)


def _allowed(
    catalogue: Catalogue, ask: Ask, facts: NumberFacts, now: datetime
) -> AmountRange | None:
    """The amounts that are let in: nothing at all is refused for nothing but its amount."""
    refused = refuse(catalogue, ask._replace(amount_minor=0), facts, now)
    return refused.allowed if refused and refused.refusal is Refusal.AMOUNT_TOO_SMALL else None


def _number_info(  # noqa: PLR0913, PLR0917  # all that is told
    ask: Ask,
    branch: BranchTerms,
    smallest: Quote,
    allowed: AmountRange | None,
    lacks: int | None,
    asked: Quote | None,
    suggested: Sequence[Quote],
) -> NumberInfo:
    refused, holder = smallest.refused, smallest.holder
    with override(LOCALES[ask.agent.language]):
        return NumberInfo(
            number=ask.number,
            operator=Operator(
                code=branch.operator.code, name=branch.operator.names[ask.agent.language]
            ),
            branch=branch.code,
            currency=branch.currency,
            holder=(masked_name(holder.name) or None) if holder and ask.agent.sees_names else None,
            can_be_topped_up=refused is None,
            refusal=refused.refusal if refused else None,
            allowed=Allowed.of(allowed),
            plan_lacks_minor=lacks,
            asked=_offer(asked) if asked else None,
            suggested=[_offer(one) for one in suggested if one.refused is None],
        )


def _amounts_to_offer(allowed: AmountRange | None, lacks: int | None) -> Iterator[int]:
    """What the plan lacks first, as far as a top-up may be so small or large; then round sums."""
    if allowed is None:
        return
    missing = max(lacks, allowed.least_minor) if lacks else None
    for amount_minor in dict.fromkeys((missing, *ROUND_MINOR)):
        if amount_minor and allowed.least_minor <= amount_minor <= allowed.most_minor:
            yield amount_minor


def _plan_lacks(catalogue: Catalogue, branch: BranchTerms, ask: Ask) -> Steps[int | None]:
    """What the plan's next period costs more than is there; None: it is enough, or none comes."""
    holder = yield read_holder(ask.number)
    plan = catalogue.plans.get(holder.wanted_id) if holder and holder.wanted_id else None
    if plan is None:
        return None
    account = (branch.book, Account.SUBSCRIBER_MONEY.account_id(ask.number))
    left = (yield read_left([account])).get(account, 0)
    return max(plan.price_minor - left, 0) or None


def _once(known: dict[object, Any], steps: Steps[T]) -> Steps[T]:
    """The steps, but what was asked before is not asked again: amounts differ in little."""
    answer: Any = None
    while True:
        try:
            statement = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        key = (statement.sql, repr(statement.arguments))
        if key not in known:
            known[key] = yield statement
        answer = known[key]


def _offer(quoted: Quote) -> Offer:
    """In the language that is active."""
    language = quoted.ask.agent.language
    currency = quoted.branch.currency if quoted.branch else ""
    renewal = quoted.renewal
    return Offer(
        amount_minor=quoted.ask.amount_minor,
        refusal=quoted.refused.refusal if quoted.refused else None,
        renewal=renewal
        and Renewal(
            plan=renewal.names[language], price_minor=renewal.price_minor, until=renewal.until
        ),
        bonuses=[_bonus(names[language], bonus, currency) for names, bonus in quoted.bonuses],
    )


def _bonus(name: str, bonus: promotions.Bonus, currency: str) -> Bonus:
    return Bonus(
        promotion=name,
        unit=_UNITS[bonus.unit],
        amount=bonus.amount,
        text=amount(bonus.amount, bonus.unit, currency),
        ends_at=bonus.ends_at,
    )
