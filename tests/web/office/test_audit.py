import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import Error, connection, models, transaction
from django.test import Client, override_settings
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from popolni.agents.models import Credential
from popolni.agents.roles import assign
from popolni.agents.service import add_password
from popolni.agents.staff import User
from popolni.audit import HIDDEN, RULES, register_audited
from popolni.catalog.numbering.models import NumberingRange, Region
from popolni.catalog.operators.models import ComplianceProfile
from popolni.catalog.plans.models import Plan
from popolni.notices.models import Notice, NoticePart, NoticeReceipt, Reminder
from popolni.readers.models import JobTurn, TopUpHour
from popolni.readers.webhooks.models import SendingTotal
from popolni.reconciliation.models import (
    Elsewhere,
    Reconciliation,
    Settlement,
    UploadedPart,
    WrittenRegistry,
)
from popolni.subscribers.documents import Document, set_document
from popolni.subscribers.models import Allowance, RenewalProgress, Subscriber
from popolni.topups.models import BonusesDecided, SentForm
from popolni.web.office.changes import in_words
from tests.web.office.desk import (
    listed,
    new_branch,
    new_budget,
    new_contract,
    new_number,
    new_user,
    queries,
    signed_in,
)

pytestmark = pytest.mark.usefixtures("database_url", "recorded")

LIST = "/admin/auditlog/logentry/"
DOCUMENT = Document("foreign_passport", "E1234567", "WANG FANG", date(2090, 1, 1), "CHN")
PASSWORD = "a horse, a battery"  # noqa: S105  # of users that live in tests
SPARE = "abcdefgh"


@pytest.fixture(scope="module")
def recorded() -> Iterator[None]:
    register_audited()
    ours = "popolni.audit.AuditMiddleware"
    chain = [ours if "audit" in name.lower() else name for name in settings.MIDDLEWARE]
    with override_settings(MIDDLEWARE=chain):
        yield


def entries(row: models.Model) -> list[LogEntry]:
    kind = ContentType.objects.get_for_model(row)
    return list(LogEntry.objects.filter(content_type=kind, object_pk=str(row.pk)).order_by("pk"))


def newest(row: models.Model) -> LogEntry:
    return entries(row)[-1]


def page(entry: LogEntry) -> str:
    return f"{LIST}{entry.pk}/change/"


def test_each_model_of_ours_is_recorded_or_known_not_to_be() -> None:
    ours = set(apps.get_app_config("popolni").get_models())
    assert ours - set(RULES) == {
        *(Allowance, NumberingRange, SentForm, TopUpHour),
        *(BonusesDecided, JobTurn, Reminder, RenewalProgress, SendingTotal),
        *(Notice, NoticePart, NoticeReceipt),
        *(Elsewhere, Reconciliation, Settlement, UploadedPart, WrittenRegistry),
    }


def test_what_is_added_changed_and_read_is_recorded() -> None:
    contract = new_contract()
    contract.float_low_minor = 7_000_00
    contract.save()
    added, changed = entries(contract)
    assert (added.action, changed.action) == (LogEntry.Action.CREATE, LogEntry.Action.UPDATE)
    assert changed.changes == {"float_low_minor": ["1000000", "700000"]}
    assert added.changes.keys() == {
        *("id", "agent", "branch", "reference", "valid_from", "float_low_minor", "cash_identity")
    }


def test_many_to_many_is_recorded() -> None:
    branch, budget = new_branch(), new_budget("money")
    region = Region.objects.create(name="desk region")
    branch.regions.add(region)
    many = {"type": "m2m", "operation": "add", "objects": ["desk region"]}
    assert newest(branch).changes == {"regions": many}
    plan = Plan.objects.create(operator=branch.operator, code="desk", kind=Plan.Kind.values[0])
    budget.promotion.plans.add(plan)
    budget.promotion.plans.remove(plan)
    assert newest(budget.promotion).changes["plans"]["operation"] == "delete"
    region.branches.clear()  # from the other side
    assert newest(branch).changes == {"regions": {**many, "operation": "delete"}}
    user = new_user("support")
    before = len(entries(user))
    assign(user, "finance")
    assert [entry.changes for entry in entries(user)][before:] == [
        {"groups": {"type": "m2m", "operation": "delete", "objects": ["support"]}},
        {"groups": {"type": "m2m", "operation": "add", "objects": ["finance"]}},
    ]


def all_text(*rows: models.Model) -> str:
    found = [entry for row in rows for entry in entries(row)]
    assert found != []
    return repr([(entry.changes, entry.object_repr, entry.serialized_data) for entry in found])


def test_of_secrets_only_that_they_changed() -> None:
    user = new_user("finance", password=PASSWORD)
    first = user.password
    user.set_password("another horse, a battery")
    user.save()
    assert newest(user).changes == {"password": [HIDDEN, HIDDEN]}
    credential = add_password(new_contract().agent, PASSWORD)
    assert newest(credential).changes["secret"] == ["", HIDDEN]
    document = set_document(Subscriber.objects.create(), DOCUMENT)
    assert newest(document).changes.keys() == {"id", "subscriber", "kind", "checked_at"}
    set_document(document.subscriber, replace(DOCUMENT, number="E7654321"))
    assert newest(document).changes.keys() == {"checked_at"}
    device = TOTPDevice.objects.create(user=user, name="phone")
    spare = StaticDevice.objects.create(user=user, name="spare codes")
    token = spare.token_set.create(token=SPARE)
    text = all_text(user, credential, document, device, spare, token)
    secrets = [first, user.password, credential.secret, device.key, SPARE, "argon2"]
    secrets += ["WANG", "E1234567", "E7654321", repr(document.sealed), repr(document.mark)]
    assert [secret for secret in secrets if secret in text] == []
    assert Credential.objects.get(pk=credential.pk).secret == credential.secret


def test_what_nobody_did_is_not_recorded() -> None:
    user = new_user("finance")
    device = TOTPDevice.objects.create(user=user, name="phone")
    before = [len(entries(row)) for row in (user, device)]
    user.save()
    user.last_login = "2026-01-01T00:00:00Z"
    user.save()
    device.throttle_increment()
    device.save()
    assert [len(entries(row)) for row in (user, device)] == before


@pytest.mark.parametrize(
    "statement",
    [
        "update auditlog_logentry set object_repr = 'nothing' where id = %s",
        "delete from auditlog_logentry where id = %s",
        "truncate auditlog_logentry",
    ],
)
def test_the_database_refuses_to_change_the_trail(statement: str) -> None:
    entry = newest(new_contract())
    arguments = [entry.pk] if "%s" in statement else []
    refused = pytest.raises(Error, match="the audit trail is only added to")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, arguments)
    assert LogEntry.objects.get(pk=entry.pk).object_repr == entry.object_repr


def test_neither_does_the_orm_change_it() -> None:
    user = new_user("support")
    entry = newest(user)
    for change in (
        lambda: LogEntry.objects.filter(pk=entry.pk).update(object_repr="nothing"),
        lambda: LogEntry.objects.filter(pk=entry.pk).delete(),
        entry.save,
        entry.delete,
    ):
        with pytest.raises(Error, match="only added to"), transaction.atomic():
            change()
    assert newest(user).object_repr == entry.object_repr


def test_a_user_in_the_trail_is_never_deleted() -> None:
    """The trail would have to forget who it was."""
    user, contract = new_user("owner"), new_contract()
    LogEntry.objects.log_create(contract, force_log=True, action=0, actor=user)
    with pytest.raises(Error, match="only added to"), transaction.atomic():
        user.delete()
    assert newest(contract).actor == user


def test_the_admin_changes_nothing_for_nobody() -> None:
    contract = new_contract()
    entry = newest(contract)
    before = LogEntry.objects.filter(pk=entry.pk).values().get()
    client = signed_in(new_user(None, is_superuser=True, is_staff=True))
    assert client.get(page(entry)).status_code == 200
    assert client.post(page(entry), {"object_repr": "nothing"}).status_code == 403
    for url in (f"{LIST}add/", f"{LIST}{entry.pk}/delete/"):
        assert client.get(url).status_code == 403
        assert client.post(url, {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": entry.pk, "post": "yes"})
    assert LogEntry.objects.filter(pk=entry.pk).values().get() == before
    shown = client.get(page(entry)).content.decode()
    assert 'name="_save"' not in shown
    assert "delete_selected" not in client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 200), ("finance", 403), ("catalogue", 403), ("support", 403)]
)
def test_who_reads_it(role: str, status: int) -> None:
    entry = newest(new_contract())
    client = signed_in(new_user(role))
    assert [client.get(url).status_code for url in (LIST, page(entry))] == [status, status]


def change_name(client: Client, user: User, **headers: Any) -> LogEntry:
    fields = {"first_name": "Olga", "language": "ru", "role": "support", "is_active": "on"}
    answer = client.post(f"/admin/popolni/user/{user.pk}/change/", fields, **headers)
    assert answer.status_code == 302
    return newest(user)


FORWARDED: list[tuple[bool, dict[str, str], str | None]] = [
    (False, {"REMOTE_ADDR": "192.0.2.7"}, "192.0.2.7"),
    (False, {"REMOTE_ADDR": "192.0.2.7", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, "192.0.2.7"),
    (False, {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, None),
    (False, {"REMOTE_ADDR": "192.0.2.7", "HTTP_X_FORWARDED_FOR": "<script>"}, "192.0.2.7"),
    (True, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, "203.0.113.9"),
    (True, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "1.1.1.1, 203.0.113.9"},
     "203.0.113.9"),
    (True, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "1.1.1.1, 2001:db8::1"},
     "2001:db8::1"),
    (True, {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "junk"}, None),
    (True, {"REMOTE_ADDR": "10.0.0.1"}, "10.0.0.1"),
]  # fmt: skip


@pytest.mark.parametrize(("https", "headers", "address"), FORWARDED)
def test_who_it_was_and_from_where(
    https: bool,  # noqa: FBT001  # a column of the table
    headers: dict[str, str],
    address: str | None,
) -> None:
    owner, user = new_user("owner"), new_user("support")
    with override_settings(HTTPS=https):
        entry = change_name(signed_in(owner), user, **headers)
    assert (entry.actor, entry.remote_addr, entry.remote_port) == (owner, address, None)


def test_no_header_names_the_request_or_breaks_it() -> None:
    owner, user = new_user("owner"), new_user("support")
    headers = {"HTTP_X_CORRELATION_ID": "x" * 300, "HTTP_X_FORWARDED_PORT": "99999999999"}
    entry = change_name(signed_in(owner), user, **headers)
    assert re.fullmatch("[0-9a-f]{32}", entry.cid)
    again = change_name(signed_in(owner), new_user("support"))
    assert again.cid != entry.cid


def words(entry: LogEntry) -> dict[str, tuple[str, str]]:
    return {name: (before, after) for name, before, after in in_words(entry)}


def test_changes_in_words() -> None:
    contract = new_contract()
    before = contract.branch
    contract.branch = after = new_branch()
    contract.float_low_minor = 7_000_50
    contract.valid_to = "2027-02-03"
    contract.save()
    assert words(newest(contract)) == {
        "Branch": (str(before), str(after)),
        "Float is low below": ("10,000", "7,000.50"),
        "Valid to": ("–", "3 Feb 2027"),
    }
    number = new_number()
    number.status = "blocked"
    number.status_since = "2026-05-01T12:00:00Z"
    number.save()
    said = words(newest(number))
    assert said["Status"] == ("active", "blocked")
    assert "1 May 2026" in said["Status since"][1]
    budget = new_budget("bytes")
    budget.promotion.channels = ["web", "till"]
    budget.promotion.is_on = False
    budget.promotion.save()
    assert words(newest(budget.promotion)) == {
        "Only through channels": ("–", "web, till"),
        "On": ("yes", "no"),
    }


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {},
        {"gone": ["1", "2"]},
        {"is_active": ["perhaps", "None"]},
        {"agent": ["999999999", "x"]},
        {"valid_from": ["yesterday", ""]},
        {"float_low_minor": ["many", "1"]},
        {"reference": "text"},
        {"reference": []},
        {"groups": {"operation": "clear"}},
    ],
)
def test_what_can_t_be_read_is_shown_as_it_is(changes: Any) -> None:
    contract = new_contract()
    entry = LogEntry.objects.log_create(contract, force_log=True, action=1, changes=changes)
    owner = signed_in(new_user("owner"))
    assert owner.get(page(entry)).status_code == 200
    assert owner.get(f"{LIST}?q={contract.pk}").status_code == 200


def test_a_page_shows_what_was_and_what_is_and_runs_nothing() -> None:
    contract = new_contract()
    contract.reference = "<script>alert(1)</script>"
    contract.save()
    shown = signed_in(new_user("owner")).get(page(newest(contract))).content.decode()
    assert "D-1" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert(1)" not in shown


def test_why_a_document_was_read_is_shown() -> None:
    contract = new_contract()
    entry = LogEntry.objects.log_create(
        contract, force_log=True, action=LogEntry.Action.ACCESS, additional_data={"why": "police"}
    )
    assert "police" in signed_in(new_user("owner")).get(page(entry)).content.decode()


def test_found_by_key_and_by_login() -> None:
    owner = new_user("owner")
    client = signed_in(owner)
    number = new_number()
    mine = change_name(client, new_user("support"))
    for query, expected in [
        (f"q=%2B{number.pk}", entries(number)),
        (f"q={number.pk}&what=popolni.number", entries(number)),
        (f"q={number.pk}&what=popolni.branch", []),
        (f"q={number.pk}&action__exact=2", []),
        (f"q={owner.username}&what=popolni.user", [mine]),
        ("q=nobody-at-all", []),
    ]:
        answer = client.get(f"{LIST}?{query}")
        found = listed(answer)
        assert found == expected[::-1], query


def test_the_list_takes_the_same_queries_for_one_row_and_for_three() -> None:
    client = signed_in(new_user("owner"))
    ContentType.objects.get_for_model(ComplianceProfile)
    taken = []
    for many in (1, 3):
        number = new_number()
        for _more in range(many - 1):
            LogEntry.objects.log_create(
                number, force_log=True, action=1, actor=new_user("clerk"), changes={}
            )
        with queries() as found:
            answer = client.get(f"{LIST}?q={number.pk}")
        assert (answer.status_code, len(listed(answer))) == (200, many)
        taken.append(len(found))
    assert taken == [7, 7]
