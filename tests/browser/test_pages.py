"""Every page of the back office, at a desk and on a phone, in three languages."""

from pathlib import Path

import pytest

from tests.browser.conftest import Office

LISTS = """
    adjustment agent branch carrier complianceprofile contract number numberingimport
    numberingrange operator outlet plan planversion portednumber promotion promotionbudget
    region setaside subscriber user
""".split()  # noqa: SIM905  # easier to read
FORMS = ["agent", "branch", "complianceprofile", "operator", "outlet", "plan", "promotion", "user"]
PAGES = [
    "/admin/",
    "/admin/?days=30",
    *(f"/admin/popolni/{name}/" for name in LISTS),
    *(f"/admin/popolni/{name}/add/" for name in FORMS),
    "/admin/popolni/adjustment/add/",
    "/admin/popolni/adjustment/add/?kind=float_funding&contract=1",
    "/admin/popolni/agent/1/change/",
    "/admin/popolni/contract/1/change/",
    "/admin/popolni/operator/1/change/",
    "/admin/popolni/complianceprofile/1/change/",
    "/admin/popolni/planversion/1/change/",
    "/admin/popolni/promotion/1/change/",
    "/admin/popolni/outlet/1/change/",
    "/admin/popolni/number/79160000001/change/",
    "/admin/popolni/subscriber/1/change/",
    "/admin/search/?s=79160",
    "/admin/transfers/1-100/",
    "/admin/auditlog/logentry/",
    "/admin/password_change/",
]
DESK, PHONE = 1440, 390


ENGLISH = ("Select ", "Type to search", "Filters", "Previous", "Dashboard", "Add ", "Save")
"""Of what is written in the code; what staff wrote is in the language they wrote it in."""


@pytest.mark.parametrize("language", ["ru", "en", "zh-hans"])
def test_every_page_fits_says_that_it_is_the_demo_and_is_translated(
    office: Office, shots: Path | None, language: str
) -> None:
    """Loaded once, on a phone: a chart takes a moment to shrink, and none to grow."""
    owner = office.signed_in("owner", language=language)
    faults = []
    for path in PAGES:
        owner.resize(PHONE)
        page = owner.go(path)
        assert page.locator("html").get_attribute("lang") == language, path
        for width in (PHONE, DESK):
            owner.resize(width)
            if not page.locator(".demo-banner").is_visible():
                faults.append((path, width, "does not say that it is the demo"))
            if page.evaluate("document.documentElement.scrollWidth") > width:
                faults.append((path, width, "too wide"))
            words = page.locator("body").inner_text() if language != "en" else ""
            faults += [(path, width, word) for word in ENGLISH if word in words]
            if shots:
                name = path.strip("/").replace("/", "_").replace("?", "-").replace("&", "-")
                page.screenshot(path=shots / f"{name}_{language}_{width}.png", full_page=True)
    assert faults == []
    assert owner.faults == []


INJECTED = """() => {
    const made = (name, fields) => document.body.append(
        Object.assign(document.createElement(name), fields)
    );
    made("script", {textContent: "window.obeyed = true"});
    made("script", {src: "https://example.com/x.js"});
    made("style", {textContent: "body { display: none !important }"});
    made("img", {src: "https://example.com/x.png"});
    made("iframe", {src: "/admin/"});
    made("div", {innerHTML: "<img src=x onerror='window.obeyed = true'>"});
}"""


def test_what_somebody_wrote_into_a_page_is_not_obeyed(office: Office) -> None:
    owner = office.signed_in("owner")
    page = owner.go("/admin/")
    page.evaluate(INJECTED)
    page.wait_for_timeout(500)
    assert page.evaluate("window.obeyed") is None
    assert page.locator("body").is_visible()
    refused = "".join(office.refused())
    for directive in ("script-src", "style-src", "img-src", "script-src-attr"):
        assert directive in refused
    assert "x.js" in refused
    owner.faults.clear()
