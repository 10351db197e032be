"""What pages let a browser load and run."""

import re
from contextlib import closing

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

from popolni.web.office.registry import office
from tests.web.office.desk import HOST, new_user, signed_in

pytestmark = pytest.mark.usefixtures("database_url")

POLICY = (
    "base-uri 'self'; connect-src 'self'; default-src 'none'; font-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; img-src 'self'; object-src 'none'; script-src 'self' 'unsafe-eval';"
    " script-src-attr 'none'; style-src 'self'; style-src-attr 'unsafe-inline'"
)
PAGES = ["/admin/", "/admin/popolni/number/", "/admin/popolni/user/add/", "/admin/nothing/"]


def test_every_answer_has_the_policy() -> None:
    client = signed_in(new_user("owner"))
    anyone = ["/", "/healthz", "/admin/login/", "/nothing", "/static/office/office.css"]
    for who, pages in ((client, PAGES), (Client(SERVER_NAME=HOST), anyone)):
        for page in pages:
            with closing(who.get(page)) as answer:
                policy = answer.headers["Content-Security-Policy"]
            assert "; ".join(sorted(policy.split("; "))) == POLICY, page


def test_no_page_needs_what_the_policy_refuses() -> None:
    client = signed_in(new_user("owner"))
    for page in PAGES:
        html = client.get(page).content.decode()
        scripts = re.findall(r"<script\b([^>]*)>([^<]*)</script>", html)
        assert scripts, page
        assert [text for _attributes, text in scripts if text.strip()] == [], page
        assert "<style" not in html, page
        assert re.findall(r"\son[a-z]+=|javascript:|(?:src|href)=\"https?:", html) == [], page


def test_the_colours_are_those_of_the_settings() -> None:
    """They stand in a file, as no page may hold a style sheet; after a new framework, again."""
    found = finders.find("office/colours.css")
    assert found is not None
    with open(found, encoding="utf-8") as file:  # noqa: PTH123  # a path as Django found it
        colours = dict(re.findall(r"--color-([\w-]+): (.+);", file.read()))
    assert settings.UNFOLD["COLORS"]["primary"]["500"] == colours["primary-500"]
    assert colours == {
        f"{name}-{weight}": value
        for name, weights in office._get_colors("COLORS", None).items()
        for weight, value in weights.items()
    }
