"""The pages of registries: the layout, the upload, what differs, and two people who settle it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from popolni.reconciliation.models import Difference, Reconciliation, RegistryLayout
from popolni.reconciliation.service import compare_uploads
from popolni.topups.models import Adjustment
from popolni.web.office import reconciliations
from tests.reconciliation.support import DAY, World, written
from tests.web.office.desk import new_user, queries, signed_in

pytestmark = pytest.mark.usefixtures("database_url")

WHY = "the agent's file is right"
ADD = "admin:popolni_reconciliation_add"


def page_of(run: Reconciliation) -> str:
    return reverse("admin:popolni_reconciliation_change", args=(run.pk,))


def registries_of(world: World) -> str:
    return reverse("admin:popolni_agent_registries", args=(world.agent.pk,))


def text_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return str(response.content.decode())


def send(client: Client, world: World, data: bytes, **more: str) -> Any:
    fields = {"layout": world.layout.pk, "first_day": DAY.isoformat(), **more}
    return client.post(reverse(ADD), {**fields, "file": SimpleUploadedFile("r.csv", data)})


def sent_run(client: Client, world: World, data: bytes, **more: str) -> Reconciliation:
    response = send(client, world, data, **more)
    assert response.status_code == 302, response.content.decode()
    run = Reconciliation.objects.get(pk=int(response["Location"].split("/")[-3]))
    assert response["Location"] == page_of(run)
    return run


@pytest.fixture
def world() -> World:
    world = World()
    at = world.places[0].at
    world.pay("extra", at("10:00:00"))
    world.pay("wrong", at("11:00:00"))
    return world


def lines_of(world: World) -> bytes:
    at = world.places[0].at
    rows = [world.line("wrong", at("11:00:00"), 50_00), world.line("lost", at("12:00:00"))]
    return written(world.layout.layout(), rows)


def test_a_file_is_sent_and_its_differences_are_shown(world: World) -> None:
    client = signed_in(new_user("finance"))
    assert str(world.agent) in text_of(client, reverse(ADD))
    run = sent_run(client, world, lines_of(world))
    assert (run.state, run.differences_count, run.file_name) == ("done", 3, "r.csv")
    page = text_of(client, page_of(run))
    for word in ("extra", "wrong", "lost", "Reverse it", "Correct it", "Post it", run.sha256):
        assert word in page, word
    only = text_of(client, f"{page_of(run)}?kind=only_ours&state=open")
    assert ("extra" in only, ">lost" in only) == (True, False)
    assert "Nothing here differs." in text_of(client, f"{page_of(run)}?state=settled")
    assert str(world.agent) in text_of(client, reverse("admin:popolni_reconciliation_changelist"))
    again = sent_run(client, world, lines_of(world))
    assert again.pk == run.pk
    assert "Compare again" in text_of(client, page_of(run))
    RegistryLayout.objects.filter(pk=world.layout.pk).update(sum_unit="kopecks")
    anew = sent_run(client, world, lines_of(world), again="on")
    assert (anew.pk, anew.state) == (run.pk, "unreadable")


def test_a_large_file_is_left_to_the_worker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliations, "AT_ONCE_BYTES_MAX", 10)
    client = signed_in(new_user("finance"))
    run = sent_run(client, world, lines_of(world))
    assert run.state == "waiting"
    assert 'hx-trigger="every 2s"' in text_of(client, page_of(run))
    while run.state == "waiting":
        compare_uploads()
        run.refresh_from_db()
    assert "extra" in text_of(client, page_of(run))


def test_a_file_that_cant_be_read_says_where(world: World) -> None:
    client = signed_in(new_user("finance"))
    run = sent_run(client, world, b"one word\n<b>;2\n")
    assert run.state == "unreadable"
    page = text_of(client, page_of(run))
    assert "other columns than the layout&#x27;s" in page
    assert "&lt;b&gt;;2" in page


def test_bad_days_are_said_in_the_form(world: World) -> None:
    client = signed_in(new_user("finance"))
    before = (DAY - timedelta(days=1)).isoformat()
    response = send(client, world, b"", last_day=before)
    assert response.status_code == 200
    assert "1 to 31 days" in response.content.decode()


def ask(client: Client, row: Difference, action: str) -> Any:
    url = reverse("admin:difference_ask", args=(row.run_id, row.pk, action))
    token = re.search(r'name="token" value="(\w+)"', text_of(client, url))
    assert token is not None
    return client.post(url, {"reason": WHY, "token": token[1]})


def test_two_people_settle_it(world: World) -> None:
    asker, second = signed_in(new_user("finance")), signed_in(new_user("owner"))
    run = sent_run(asker, world, lines_of(world))
    rows = {row.reference: row for row in Difference.objects.filter(run=run)}
    for name, action in (("extra", "reverse"), ("wrong", "correct"), ("lost", "post")):
        assert ask(asker, rows[name], action).status_code == 302
    assert text_of(asker, f"{page_of(run)}?state=waiting").count("waiting for approval") >= 3
    for row in Adjustment.objects.filter(differences__run=run):
        url = reverse("admin:popolni_adjustment_change", args=(row.pk,))
        assert "Approve and post" in text_of(second, url)
        assert second.post(reverse("admin:adjustment_approve", args=(row.pk,))).status_code == 302
        assert "Posted" in text_of(second, url) or "posted" in text_of(second, url)
    assert text_of(asker, f"{page_of(run)}?state=settled").count("office-link") >= 3
    assert "Nothing here differs." in text_of(asker, f"{page_of(run)}?state=open")
    assert Adjustment.objects.filter(differences__run=run, status="posted").count() == 3


def test_many_are_accepted_with_one_note(world: World) -> None:
    asker, second = signed_in(new_user("finance")), signed_in(new_user("owner"))
    run = sent_run(asker, world, lines_of(world))
    keys = [row.pk for row in Difference.objects.filter(run=run)]
    accept = reverse("admin:differences_accept", args=(run.pk,))
    decide = reverse("admin:differences_decide", args=(run.pk,))
    assert asker.post(accept, {"difference": keys, "note": "no"}).status_code == 302
    assert not Difference.objects.filter(run=run, state="asked").exists()
    asker.post(accept, {"difference": keys, "note": WHY})
    assert Difference.objects.filter(run=run, state="asked", note=WHY).count() == 3
    asker.post(decide, {"difference": keys, "decision": "approve"})
    assert Difference.objects.filter(run=run, state="asked").count() == 3
    second.post(decide, {"difference": keys[:1], "decision": "decline"})
    second.post(decide, {"difference": keys, "decision": "approve"})
    assert Difference.objects.filter(run=run, state="accepted").count() == 2
    changes = LogEntry.objects.get_for_object(Difference.objects.get(pk=keys[1]))
    assert [entry.changes["state"] for entry in changes.order_by("pk")] == [
        ["open", "asked"], ["asked", "accepted"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("role", "status"), [("finance", 200), ("owner", 200), ("support", 403), ("catalogue", 403)]
)
def test_who_may(world: World, role: str, status: int) -> None:
    run = world.compare([])
    row = Difference.objects.filter(run=run)[0]
    client = signed_in(new_user(role))
    urls = [
        reverse(ADD), page_of(run), registries_of(world),
        reverse("admin:difference_ask", args=(run.pk, row.pk, "accept")),
        reverse("admin:popolni_agent_registry", args=(world.agent.pk, "osmp", DAY.isoformat())),
    ]  # fmt: skip
    assert [client.get(url).status_code for url in urls] == [status] * len(urls)
    accept = reverse("admin:differences_accept", args=(run.pk,))
    decide = reverse("admin:differences_decide", args=(run.pk,))
    wanted = 302 if status == 200 else 403
    assert [client.post(url).status_code for url in (accept, decide)] == [wanted] * 2


LAYOUT = {
    "columns": "date, time, reference, number, sum",
    "separator": "|",
    "encoding": "cp1251",
    "date_format": "DD.MM.YYYY",
    "time_format": "hh:mm:ss",
    "sum_unit": "kopecks",
    "decimal_mark": ".",
    "header_lines": "1",
    "total_columns": "mark, count",
    "total_mark": "ИТОГО",
    "time_zone": "Asia/Omsk",
    "midnight_minutes": "10",
    "expects_from": "2026-11-01",
    "expected_by": "09:30",
    "writes_from": "",
}


def test_the_layout_is_set_on_the_agents_page() -> None:
    world = World(channel="till")
    client = signed_in(new_user("finance"))
    assert 'value="Europe/Moscow"' in text_of(client, f"{registries_of(world)}?channel=osmp")
    url = f"{registries_of(world)}?channel=api"
    assert client.post(url, LAYOUT).status_code == 302
    row = RegistryLayout.objects.get(agent=world.agent, channel="api")
    layout = row.layout()
    assert [column.value for column in layout.columns] == LAYOUT["columns"].split(", ")
    assert (layout.separator, layout.total_mark, row.midnight_minutes) == ("|", "ИТОГО", 10)
    assert (str(row.expects_from), str(row.expected_by), row.writes_from) == (
        "2026-11-01", "09:30:00", None,
    )  # fmt: skip
    page = text_of(client, url)
    assert 'value="2026-11-01"' in page
    assert 'value="09:30"' in page
    assert LogEntry.objects.get_for_object(row).count() == 1


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("columns", "date", "the column reference is missing"),
        ("columns", "reference, sum, what", "what"),
        ("date_format", "hh", "no YYYY, MM and DD"),
        ("time_zone", "Mars/Base", "no such time zone"),
        ("total_columns", "mark", "a count or a sum"),
    ],
)
def test_a_layout_that_cant_be_is_refused(field: str, value: str, sentence: str) -> None:
    world = World()
    client = signed_in(new_user("owner"))
    response = client.post(f"{registries_of(world)}?channel=api", {**LAYOUT, field: value})
    assert response.status_code == 200
    assert sentence in response.content.decode()
    assert not RegistryLayout.objects.filter(agent=world.agent, channel="api").exists()


def test_a_registry_of_ours_is_downloaded(world: World) -> None:
    client = signed_in(new_user("finance"))
    name = "admin:popolni_agent_registry"
    response: Any = client.get(reverse(name, args=(world.agent.pk, "osmp", DAY.isoformat())))
    data = b"".join(response.streaming_content)
    assert data.count(b"\r\n") == 2
    assert b"extra;20261120100000;" in data
    assert f"{world.agent.code}_osmp_2026-11-20.txt" in response["Content-Disposition"]
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    today = timezone.localdate().isoformat()
    for channel, day in (("osmp", today), ("api", DAY.isoformat()), ("osmp", "2026-13-45")):
        assert client.get(reverse(name, args=(world.agent.pk, channel, day))).status_code == 404
    assert f"{registries_of(world)}osmp/2026" in text_of(client, registries_of(world))


@pytest.mark.parametrize("day", ["9999-12-31", "1999-12-31", "0001-01-01"])
def test_no_registry_is_downloaded_of_a_day_that_no_payment_is_of(world: World, day: str) -> None:
    client = signed_in(new_user("finance"))
    address = reverse("admin:popolni_agent_registry", args=(world.agent.pk, "osmp", day))
    assert client.get(address).status_code == 404


def test_a_missing_registry_is_on_the_dashboard_and_in_the_metrics(world: World) -> None:
    client = signed_in(new_user("finance"))
    RegistryLayout.objects.update(expects_from=None)
    assert "No registry is missing." in text_of(client, reverse("admin:index"))
    RegistryLayout.objects.filter(pk=world.layout.pk).update(expects_from=DAY, expected_by="00:00")
    assert registries_of(world) in text_of(client, reverse("admin:index"))
    metrics = text_of(client, "/metrics")
    found = re.search(r"popolni_registries_missing (\d+)", metrics)
    assert found is not None
    assert int(found[1]) > 0
    assert "popolni_differences_open" in metrics


def test_its_queries_do_not_grow_with_the_differences() -> None:
    counts = []
    client = signed_in(new_user("owner"))
    for number in (1, 3):
        world = World()
        at = world.places[0].at
        run = world.compare([world.line(f"{n}", at("12:00:00")) for n in range(number)])
        text_of(client, page_of(run))
        with queries() as few:
            text_of(client, page_of(run))
        counts.append(len(few))
    assert counts[0] == counts[1]
