"""Fills an empty database for `bench osmp`: a branch, agents with floats, numbers by the million.

Straight into the tables: what is measured is topping the numbers up.
"""

import sys

import django
import django.db
from django.contrib.auth.hashers import make_password

BOOK = 1
FIRST = 79_000_000_000
PASSWORD = "of this benchmark"  # noqa: S105  # and of nothing else
AGENTS = 50
FLOAT_MINOR = 10**15
MOST_MINOR = 10**12

_FILL = """
    insert into popolni_number (number, branch_id, subscriber_id, status, opened_at, status_since)
    select %(first)s + n, %(branch)s, %(subscriber)s, 'active', now(), now()
    from generate_series(0, %(count)s - 1) as n;

    insert into ledger.account (book, id, unit, kind, flags)
    select %(book)s, %(account)s + n, 1, 101, 2
    from generate_series(0, %(count)s - 1) as n;
"""


def agent_codes(count: int) -> list[str]:
    """The agents' names."""
    return [f"bench-{place}" for place in range(1, count + 1)]


def main(numbers: int) -> None:
    """Everything, in one database."""
    django.setup()
    branch_id = _open_branch()
    _fill(branch_id, numbers)
    with django.db.connection.cursor() as cursor:
        cursor.execute("vacuum (analyze)")
        cursor.execute("checkpoint")
    django.db.connections.close_all()


def _open_branch() -> int:
    from popolni.agents.models import Agent, Credential  # noqa: PLC0415  # Django is set up by now
    from popolni.agents.service import open_contract  # noqa: PLC0415
    from popolni.catalog.operators.models import (  # noqa: PLC0415
        ChannelLimit,
        ComplianceProfile,
        MethodSetting,
        Operator,
    )
    from popolni.catalog.operators.service import open_branch  # noqa: PLC0415
    from popolni.core.channel import Channel  # noqa: PLC0415
    from popolni.core.identifiers import transfer_id  # noqa: PLC0415
    from popolni.core.method import Method  # noqa: PLC0415
    from popolni.ledger.chart import Code, Kind  # noqa: PLC0415
    from popolni.ledger.client import run  # noqa: PLC0415
    from popolni.ledger.model import Transfer  # noqa: PLC0415
    from popolni.ledger.statements import post  # noqa: PLC0415

    profile = ComplianceProfile.objects.create(
        name="bench", cash_identity="none", day_max_minor=MOST_MINOR, month_max_minor=MOST_MINOR
    )
    ChannelLimit.objects.create(
        profile=profile, channel=Channel.OSMP, min_minor=1, max_minor=MOST_MINOR
    )
    MethodSetting.objects.create(profile=profile, method=Method.CASH)
    operator = Operator.objects.create(
        code="bench", name_ru="О", name_en="O", name_zh="运", colour="#000000", mnc="98",
        balance_ussd="*1#", profile=profile,
    )  # fmt: skip
    branch = open_branch(operator, code="bench", book=BOOK, name_ru="О", name_en="O", name_zh="运")
    secret = make_password(PASSWORD)  # slow: one for all
    floats = []
    for code in agent_codes(AGENTS):
        agent = Agent.objects.create(code=code, name=code)
        Credential.objects.create(agent=agent, kind=Credential.Kind.PASSWORD, secret=secret)
        open_contract(agent, branch, reference=code)
        floats.append(Kind.AGENT_FLOAT.account_id(agent.pk))
    bank = Kind.BANK.account_id()
    run(
        post(
            BOOK,
            [
                Transfer(transfer_id("bench", to), bank, to, FLOAT_MINOR, Code.FLOAT_FUNDING)
                for to in floats
            ],
        )
    )
    return branch.pk


def _fill(branch_id: int, numbers: int) -> None:
    from popolni.ledger.chart import Kind  # noqa: PLC0415
    from popolni.subscribers.models import Subscriber  # noqa: PLC0415

    subscriber = Subscriber.objects.create(name="bench")
    values = {
        "first": FIRST,
        "branch": branch_id,
        "subscriber": subscriber.pk,
        "count": numbers,
        "book": BOOK,
        "account": Kind.SUBSCRIBER_MONEY.account_id(FIRST),
    }
    with django.db.connection.cursor() as cursor:
        for statement in _FILL.split(";"):
            if statement.strip():
                cursor.execute(statement, values)


if __name__ == "__main__":
    main(int(sys.argv[1]))
