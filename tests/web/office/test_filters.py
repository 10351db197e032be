"""The addresses of lists: each filter works, and nothing else can be asked for."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin import FieldListFilter, ListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP
from django.test import Client, RequestFactory

from popolni.topups import adjustments
from popolni.web.office import registry
from tests.web.office.desk import listed, new_contract, new_number, new_user, signed_in

pytestmark = pytest.mark.usefixtures("database_url")


OFFICE = registry.office._registry


def name_of(item: Any) -> str:
    """What the addresses of a filter begin with."""
    found: str = item[0] if isinstance(item, tuple) else item.parameter_name
    return found


FILTERS = [
    pytest.param(model, item, id=f"{model._meta.model_name} {name_of(item)}")
    for model, admin in OFFICE.items()
    for item in admin.list_filter
]
LISTS = [pytest.param(model, id=model._meta.model_name) for model in OFFICE]


@pytest.fixture(scope="module")
def client(database_url: str) -> Client:  # noqa: ARG001  # it must be there
    return signed_in(new_user(None, is_superuser=True, is_staff=True))


def url_of(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def made(model: type[Model], item: Any) -> ListFilter:
    """The filter, as the list makes it for itself."""
    admin = OFFICE[model]
    request = RequestFactory().get("/")
    request.user = new_user(None, is_superuser=True, is_staff=True)
    if not isinstance(item, tuple):
        filter_: ListFilter = item(request, {}, model, admin)
        return filter_
    path, kind = item
    field = get_fields_from_path(model, path)[-1]
    of_field: FieldListFilter = kind(field, request, {}, model, admin, field_path=path)
    return of_field


def beyond(model: type[Model], path: str) -> Iterator[str]:
    """Whatever a filter's field leads on to, and its own text."""
    yield path
    field: Any = get_fields_from_path(model, path)[-1]
    if field.is_relation:
        others = field.related_model._meta.get_fields()
        yield from (f"{path}__{other.name}" for other in others)


@pytest.mark.parametrize(("model", "item"), FILTERS)
def test_a_filter_works(client: Client, model: type[Model], item: Any) -> None:
    for name in made(model, item).expected_parameters():
        for value in ("1", "0"):
            assert name is not None
            assert client.get(url_of(model), {name: value}).status_code in (200, 302), name


@pytest.mark.parametrize(("model", "item"), FILTERS)
def test_a_filter_leads_no_further(client: Client, model: type[Model], item: Any) -> None:
    name = name_of(item)
    paths = beyond(model, name) if isinstance(item, tuple) else [name]
    for path in paths:
        for lookup in ("__startswith", "__gt", "__regex", "__pk__gt", "__id__startswith"):
            asked = path + lookup
            assert client.get(url_of(model), {asked: "1"}).status_code == 400, asked


@pytest.mark.parametrize("model", LISTS)
def test_no_field_of_a_list_can_be_asked_for(client: Client, model: type[Model]) -> None:
    filtered = {name_of(item).split(LOOKUP_SEP)[0] for item in OFFICE[model].list_filter}
    names = [field.name for field in model._meta.get_fields()]
    for name in names:
        for lookup in ("__startswith", "__gt", *(("", "__exact") if name not in filtered else ())):
            asked = name + lookup
            assert client.get(url_of(model), {asked: "1"}).status_code == 400, asked


def test_a_list_tells_no_secret() -> None:
    owner, contract = new_user("owner"), new_contract()
    signed_in(owner)
    adjustments.ask("float_funding", contract, 100, "an opening sum", by=owner)
    number = new_number(contract.branch)
    key = "contracts__adjustment__asked_by__totpdevice__key__startswith"
    for role, url, way in [
        ("support", "outlet", "agent"),
        ("support", "number", "branch__contracts__agent"),
        ("finance", "number", "branch__contracts__agent"),
        ("catalogue", "branch", "operator__branches__contracts__agent"),
    ]:
        clerk = signed_in(new_user(role))
        assert clerk.get(f"/admin/popolni/{url}/", {f"{way}__{key}": "a"}).status_code == 400
    finance = signed_in(new_user("finance"))
    holder = {"subscriber__id__exact": number.subscriber_id}
    assert finance.get("/admin/popolni/number/", holder).status_code == 400


def test_rows_that_belong_to_a_row() -> None:
    contract, other, finance = new_contract(), new_contract(), new_user("finance")
    row = adjustments.ask("float_funding", contract, 100, "an opening sum", by=finance)
    adjustments.ask("float_funding", other, 100, "an opening sum", by=finance)
    asked = {"contract__id__exact": contract.pk}
    answer = signed_in(finance).get("/admin/popolni/adjustment/", asked)
    assert listed(answer) == [row]
