"""`popolni branches`, and that no page raises what it sets."""

from urllib.parse import urlencode

import pytest
from auditlog.models import LogEntry
from psycopg.conninfo import conninfo_to_dict

from popolni.catalog.operators.models import Branch, ComplianceProfile, Operator
from popolni.catalog.operators.service import open_branch
from popolni.cli import main
from tests.web.office.support import client_as, demo


@pytest.fixture(autouse=True)
def _commands(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = conninfo_to_dict(database_url)
    url = f"postgresql:///{parts.pop('dbname')}?{urlencode(parts)}"
    monkeypatch.setenv("POPOLNI_DATABASE_URL", url)


@pytest.fixture
def branch() -> Branch:
    profile, _new = ComplianceProfile.objects.get_or_create(
        name="branches", defaults={"day_max_minor": 1, "month_max_minor": 1}
    )
    operator, _new = Operator.objects.get_or_create(
        code="branches",
        defaults={
            "name_ru": "О", "name_en": "O", "name_zh": "运", "colour": "#112233", "mnc": "957",
            "balance_ussd": "*100#", "profile": profile,
        },
    )  # fmt: skip
    found = Branch.objects.filter(code="branches-one").first()
    return found or open_branch(
        operator, code="branches-one", book=26_900, name_ru="Ф", name_en="B", name_zh="分"
    )


@pytest.mark.parametrize(("text", "minor"), [("0", 0), ("50000", 50_000_00), ("99.50", 99_50)])
def test_the_sum_is_set_and_recorded(
    branch: Branch, text: str, minor: int, capsys: pytest.CaptureFixture[str]
) -> None:
    branch.approval_from_minor = 1
    branch.save()
    assert main(["branches", "approval", branch.code, text]) == 0
    branch.refresh_from_db()
    assert branch.approval_from_minor == minor
    newest = LogEntry.objects.get_for_object(branch).first()
    assert newest is not None
    assert newest.changes == {"approval_from_minor": ["1", str(minor)]}
    assert main(["branches", "list"]) == 0
    assert branch.code in capsys.readouterr().out


@pytest.mark.parametrize("text", ["-1", "1.5", "1_000", "1e5", "", "٣", "NaN", "9" * 13])
def test_what_is_no_sum(branch: Branch, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["branches", "approval", branch.code, text]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_branch_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["branches", "approval", "nowhere", "5"]) == 2
    assert "there is no branch 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize(("amount", "is_taken"), [("100000.01", False), ("99999", True)])
def test_a_page_lowers_it_and_never_raises_it(
    branch: Branch,
    amount: str,
    is_taken: bool,  # noqa: FBT001  # a case
) -> None:
    branch.approval_from_minor = 100_000_00
    branch.save()
    names = {name: getattr(branch, name) for name in ("name_ru", "name_en", "name_zh")}
    form = {**names, "time_zone": branch.time_zone, "approval_from_minor": amount}
    with demo:
        answer = client_as("owner").post(f"/admin/popolni/branch/{branch.pk}/change/", form)
    branch.refresh_from_db()
    assert (answer.status_code == 302) is is_taken
    assert branch.approval_from_minor == (99_999_00 if is_taken else 100_000_00)
