"""What a top-up would meet and bring, on real rows and real books."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from popolni.agents.models import Agent
from popolni.agents.service import open_contract
from popolni.catalog.operators.models import Branch, ChannelLimit, ComplianceProfile, MethodSetting
from popolni.catalog.plans.models import PlanVersion
from popolni.catalog.plans.rules import PeriodUnit
from popolni.catalog.promotions.models import Promotion
from popolni.catalog.promotions.service import budget_account, open_budget
from popolni.core.channel import Channel
from popolni.core.identifiers import transfer_id
from popolni.core.language import Language
from popolni.core.refusal import AmountRange, Refusal
from popolni.ledger.chart import Code, Kind
from popolni.ledger.client import run, run_steps
from popolni.ledger.model import Transfer, Unit
from popolni.ledger.statements import post
from popolni.readers.frame import read_all
from popolni.readers.renewals import READER
from popolni.subscribers.models import Number, Subscriber, Subscription
from popolni.subscribers.renewals.changes import queue_plan, set_renewed
from popolni.subscribers.service import subscribe
from popolni.topups.catalogue import read_catalogue
from popolni.topups.facts import BookMonth, month_of, read_facts, read_first_seqs
from popolni.topups.quote import Quote, Renewal, quote
from popolni.topups.rules import Ask, Refused
from tests.agents.support import new_agent, new_branch, new_operator
from tests.subscribers.renewals.support import current, renew, top_up
from tests.subscribers.support import credit, new_number, new_plan

NOW = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
FAR = datetime(2027, 3, 20, 9, 30, tzinfo=UTC)
"""After all that the ledger's own clock says."""


@pytest.fixture
def branch(database_url: str) -> Branch:
    """A branch of an operator that takes what comes through OSMP."""
    assert database_url
    operator = new_operator("977")
    profile, is_new = ComplianceProfile.objects.get_or_create(
        name="quotes",
        defaults={
            "cash_identity": "none",
            "day_max_minor": 10_000_00,
            "month_max_minor": 10_000_00,
        },
    )
    if is_new:
        for limit in (Channel.OSMP,):
            ChannelLimit.objects.create(
                profile=profile, channel=limit, min_minor=10_00, max_minor=5_000_00
            )
        MethodSetting.objects.create(profile=profile, method="cash")
    operator.profile = profile
    operator.save()
    Promotion.objects.filter(operator=operator).update(is_on=False)
    return new_branch(operator)


@pytest.fixture
def agent(branch: Branch) -> Agent:
    """One with a float of 1,000.00 there."""
    agent = new_agent()
    open_contract(agent, branch, reference="1", valid_from=START.date())
    fund(branch, Kind.AGENT_FLOAT.account_id(agent.pk), 1_000_00)
    return agent


def fund(branch: Branch, account: int, amount: int, source: Kind = Kind.BANK) -> None:
    id_ = transfer_id("quotes", branch.book, account)
    (posted,) = run(
        post(
            branch.book,
            [Transfer(id_, source.account_id(), account, amount, Code.FLOAT_FUNDING)],
        )
    )
    assert posted.outcome == "created"


def ask(agent: Agent, number: int, amount_minor: int = 500_00, now: datetime = NOW) -> Quote:
    catalogue = read_catalogue()
    months = []
    for branch in catalogue.branches.values():
        day, month = month_of(branch.zone, now)
        seqs = run(read_first_seqs([(branch.book, month)]))
        months.append(BookMonth(branch.id, branch.book, day, month, seqs[branch.book]))
    facts = run(read_facts([number], months)).get(number)
    asked = Ask(Channel.OSMP, catalogue.agents[agent.code], "1", number, amount_minor)
    return run_steps(quote(catalogue, asked, facts, now))


def on_plan(
    branch: Branch, *, unit: PeriodUnit = PeriodUnit.MONTH, status: str = "active"
) -> tuple[Number, PlanVersion]:
    """A number that is on a plan for 300.00 since 31 January, and has 100.00 left."""
    number, version = new_number(branch), new_plan(branch.operator, unit=unit)
    credit(number, 400_00)
    subscribe(number, version, at=START)
    Subscription.objects.filter(number=number).update(status=status)
    return number, version


def test_a_number_that_is_not_here(branch: Branch, agent: Agent) -> None:
    assert branch.book
    quoted = ask(agent, 79999999999)
    assert quoted == Quote(ask=quoted.ask, refused=Refused(Refusal.NUMBER_UNKNOWN))


def test_a_number_without_a_plan(branch: Branch, agent: Agent) -> None:
    number = new_number(branch)
    Subscriber.objects.filter(pk=number.subscriber_id).update(name="Анна Ы", language="zh")
    quoted = ask(agent, number.number)
    assert quoted.refused is None
    assert quoted.branch == read_catalogue().branches[branch.pk]
    assert quoted.holder == ("Анна Ы", Language.ZH, None, None, False, False, None, None)
    assert (quoted.renewal, list(quoted.bonuses)) == (None, [])


@pytest.mark.parametrize(
    ("status", "amount_minor", "until"),
    [
        # it has 100.00; its period ended on 28 February, and nobody has renewed it yet
        ("active", 199_99, None),
        ("active", 200_00, "2026-03-31T12:00"),
        ("lapsed", 200_00, "2026-04-20T09:30"),
        ("lapsed", 199_99, None),
    ],
)
def test_the_plan_that_it_pays_for(
    branch: Branch, agent: Agent, status: str, amount_minor: int, until: str | None
) -> None:
    number, version = on_plan(branch, status=status)
    quoted = ask(agent, number.number, amount_minor)
    names = {Language.RU: "План", Language.EN: "Plan", Language.ZH: "套餐"}
    ends_at = until and datetime.fromisoformat(f"{until}+00:00")
    assert quoted.renewal == (names, version.price_minor, ends_at)
    assert version.price_minor == 300_00


def test_a_plan_that_does_not_renew_by_itself(branch: Branch, agent: Agent) -> None:
    number, _version = on_plan(branch)
    set_renewed(number, is_renewed=False, by=None)
    assert ask(agent, number.number, 500_00).renewal is None


def lapses(number: Number) -> None:
    assert renew(number.branch, datetime(2026, 3, 1, tzinfo=UTC)).lapsed == 1


def is_on_another(number: Number) -> None:
    """From the next period on: for 350.00, and for five days."""
    other = new_plan(number.branch.operator, price_minor=350_00, unit=PeriodUnit.DAY)
    PlanVersion.objects.filter(pk=other.pk).update(period_count=5)
    queue_plan(number, other, by=None)


def lapses_on_another(number: Number) -> None:
    is_on_another(number)
    lapses(number)


def stays(_number: Number) -> None:
    """Its period is under way."""


@pytest.mark.parametrize("bonus_percent", [0, 50])
@pytest.mark.parametrize("amount_minor", [133_33, 133_34, 199_99, 200_00, 249_99, 250_00])
@pytest.mark.parametrize("happens", [stays, is_on_another, lapses, lapses_on_another])
def test_what_is_said_before_is_what_happens_after(
    branch: Branch,
    agent: Agent,
    happens: Callable[[Number], None],
    amount_minor: int,
    bonus_percent: int,
) -> None:
    """With the top-up, and its bonus, the number is renewed until then; or it is not."""
    if bonus_percent:
        promote(branch, source=Kind.BANK, gives="percent", value=bonus_percent, valid_days=None)
    number, _version = on_plan(branch)
    happens(number)
    end = current(number).period_ends_at
    now = FAR if current(number).status == "lapsed" else end - timedelta(days=3)
    quoted = ask(agent, number.number, amount_minor, now)
    said, bonuses = quoted.renewal, [bonus.amount for _, bonus in quoted.bonuses]
    assert said is not None
    assert bonuses == ([amount_minor // 2] if bonus_percent else [])
    before = Subscription.objects.filter(number=number).count()
    top_up(number, amount_minor, now)
    for amount in bonuses:
        top_up(number, amount, now)
    read_all(READER, branch.book)
    renew(branch, end)
    found = current(number)
    is_renewed = found.status == "active"
    assert (found.period_ends_at if is_renewed else None) == said.until
    assert found.version.price_minor == (said.price_minor if is_renewed else 300_00)
    is_other = happens in (is_on_another, lapses_on_another)
    assert Subscription.objects.filter(number=number).count() == before + (is_renewed and is_other)


def test_a_period_under_way_goes_on_from_its_end(branch: Branch, agent: Agent) -> None:
    """Months by the day on which the first one began: 31 January, February's end, 31 March."""
    number, _version = on_plan(branch)
    end = datetime(2026, 3, 31, 12, tzinfo=UTC)
    Subscription.objects.filter(number=number).update(
        period_starts_at=end - timedelta(days=31), period_ends_at=end
    )
    renewal = ask(agent, number.number, 200_00).renewal
    assert renewal == Renewal(
        {Language.RU: "План", Language.EN: "Plan", Language.ZH: "套餐"},
        300_00,
        datetime(2026, 4, 30, 12, tzinfo=UTC),
    )


def test_a_plan_of_days(branch: Branch, agent: Agent) -> None:
    number, _version = on_plan(branch, unit=PeriodUnit.DAY, status="lapsed")
    renewal = ask(agent, number.number, 200_00).renewal
    assert renewal is not None
    assert renewal.until == NOW + timedelta(days=1)


def test_a_plan_that_it_left(branch: Branch, agent: Agent) -> None:
    number, _version = on_plan(branch)
    Subscription.objects.filter(number=number).update(ended_at=NOW)
    quoted = ask(agent, number.number)
    assert quoted.renewal is None
    assert quoted.holder is not None
    assert quoted.holder.version_id is None


def promote(
    branch: Branch, budget: int = 10**12, source: Kind = Kind.ISSUED_BYTES, **terms: object
) -> Promotion:
    values = {"starts_at": START, "gives": "bytes", "value": 2**30, "valid_days": 30}
    promotion = Promotion.objects.create(
        operator=branch.operator,
        code=f"quotes-{branch.book}-{Promotion.objects.count()}",
        name_ru="Подарок",
        name_en="Gift",
        name_zh="礼物",
        **{**values, **terms},
    )
    account = budget_account(open_budget(promotion, branch))
    if budget:
        fund(branch, account, budget, source)
    return promotion


def nothing(_branch: Branch, _number: Number) -> None:
    """Nothing stands against it."""


def blocks(_branch: Branch, number: Number) -> None:
    Number.objects.filter(pk=number.pk).update(status="blocked")


@pytest.mark.parametrize("happens", [nothing, blocks])
@pytest.mark.parametrize(
    ("amount_minor", "expected"), [(499_99, 0), (500_00, 2**30), (0, 0), (5_000_01, 2**30)]
)
def test_the_bonus_also_of_what_is_refused(
    branch: Branch,
    agent: Agent,
    happens: Callable[[Branch, Number], None],
    amount_minor: int,
    expected: int,
) -> None:
    promotion, number = promote(branch, amount_min_minor=500_00), new_number(branch)
    promote(branch, channels=["web"])
    promote(branch, budget=0)
    happens(branch, number)
    quoted = ask(agent, number.number, amount_minor)
    names = {Language.RU: "Подарок", Language.EN: "Gift", Language.ZH: "礼物"}
    given = [(bonus.promotion, bonus.unit, bonus.amount) for _, bonus in quoted.bonuses]
    assert given == ([(promotion.pk, Unit.BYTE, expected)] if expected else [])
    assert [texts for texts, _ in quoted.bonuses] == [names] * len(given)


@pytest.mark.parametrize(
    ("amount_minor", "refused"),
    [
        (1_000_00, None),
        (1_000_01, Refused(Refusal.FLOAT_TOO_LOW)),
        (9_99, Refused(Refusal.AMOUNT_TOO_SMALL, AmountRange(10_00, 5_000_00))),
        (5_000_01, Refused(Refusal.AMOUNT_TOO_LARGE, AmountRange(10_00, 5_000_00))),
    ],
)
def test_what_it_would_meet(
    branch: Branch, agent: Agent, amount_minor: int, refused: Refused | None
) -> None:
    assert ask(agent, new_number(branch).number, amount_minor).refused == refused


def test_a_float_that_was_never_opened(branch: Branch, agent: Agent) -> None:
    """A contract without its account covers nothing."""
    stranger = replace(read_catalogue().agents[agent.code], id=10**6)
    number = new_number(branch).number
    catalogue = read_catalogue()
    facts = run(read_facts([number], [BookMonth(branch.pk, branch.book, NOW, NOW, 1)]))[number]
    asked = Ask(Channel.OSMP, stranger, "1", number, 10_00)
    quoted = run_steps(quote(catalogue, asked, facts, NOW))
    assert quoted.refused == Refused(Refusal.FLOAT_TOO_LOW)
