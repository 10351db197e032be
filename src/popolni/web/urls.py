"""The pages of people's program."""

from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView

from popolni.web import health, metrics, phone
from popolni.web.office.registry import office
from popolni.web.office.site import set_language

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", office.urls),
    path("language", set_language, name="set_language"),
    path("demo/phone/<int:number>", phone.phone, name="phone"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
]
handler403 = "popolni.web.office.faults.forbidden"
handler404 = "popolni.web.office.faults.not_found"
handler500 = "popolni.web.office.faults.failed"
