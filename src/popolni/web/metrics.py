"""What a Prometheus server reads at /metrics of the pages: requests, and what waits for people.

Only for whom POPOLNI_METRICS_FROM and POPOLNI_METRICS_TOKEN let in (`agents.scrapers`).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

import django.db
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from popolni.agents.networks import read_address
from popolni.agents.scrapers import FORWARDED, may_read, read_from, read_token
from popolni.audit import client_address
from popolni.readers.lag import lags
from popolni.readers.webhooks import told
from popolni.readers.worker import READERS
from popolni.reconciliation.actions import open_differences
from popolni.reconciliation.daily import missing_files
from popolni.topups.models import Adjustment

registry = CollectorRegistry()
ProcessCollector(registry=registry)
REQUESTS = Counter(
    "popolni_web_requests", "Requests by page and status", ["page", "status"], registry=registry
)
SECONDS = Histogram(
    "popolni_web_seconds", "From a request to its response", ["page"], registry=registry
)


class _Standing(Collector):
    """What the database knows now: how far each reader is behind each book's log, and the rest."""

    def collect(self) -> Iterable[Metric]:
        """Nothing, while the database is away: the requests are told all the same."""
        try:
            metrics = [
                *(*_readers(), *_webhooks(), *_renewals()),
                *(*_waiting(), *_registries()),
            ]
        except django.db.Error:
            django.db.connection.close()
            return
        yield from metrics


def _readers() -> Iterator[Metric]:
    entries = GaugeMetricFamily(
        "popolni_reader_lag_entries", "Entries of the log not read yet", labels=["reader", "book"]
    )
    seconds = GaugeMetricFamily(
        "popolni_reader_lag_seconds",
        "For how long the oldest unread entry waits; 0 if none does",
        labels=["reader", "book"],
    )
    aside = GaugeMetricFamily(
        "popolni_reader_set_aside", "Entries set aside, yet to be resolved", labels=["reader"]
    )
    found = lags([reader.name for reader in READERS])
    for lag in found:
        entries.add_metric([lag.reader, str(lag.book)], lag.entries)
        seconds.add_metric([lag.reader, str(lag.book)], lag.seconds or 0)
    for reader in READERS:
        open_ = sum(lag.set_aside for lag in found if lag.reader == reader.name)
        aside.add_metric([reader.name], open_)
    yield from (entries, seconds, aside)


def _webhooks() -> Iterator[Metric]:
    sendings = CounterMetricFamily(
        "popolni_webhook_sendings", "Sendings of webhooks, by what came of them", labels=["outcome"]
    )
    seconds = SummaryMetricFamily(
        "popolni_webhook_seconds", "How long a sending takes", labels=["outcome"]
    )
    for outcome, total in told.totals().items():
        sendings.add_metric([outcome.value], total.sendings)
        seconds.add_metric([outcome.value], total.sendings, total.seconds)
    waiting = told.waiting()
    yield from (sendings, seconds)
    yield GaugeMetricFamily(
        "popolni_webhook_waiting", "Deliveries yet to arrive", value=waiting.deliveries
    )
    yield GaugeMetricFamily(
        "popolni_webhook_waiting_seconds", "The age of the oldest of them", value=waiting.seconds
    )


def _waiting() -> Iterator[Metric]:
    waiting = Adjustment.objects.filter(status=Adjustment.Status.WAITING).count()
    yield GaugeMetricFamily(
        "popolni_adjustments_waiting", "Adjustments that wait for approval", value=waiting
    )


def _registries() -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "popolni_registries_missing",
        "Days whose registry an agent did not send",
        value=len(missing_files()),
    )
    yield GaugeMetricFamily(
        "popolni_differences_open", "Differences that nothing was done about", open_differences()
    )


# What is due is counted by its index; what is done is by book, and a run without a pause of a
# minute has its own figures.
_RENEWALS = """
    select
        (
            select count(*) from popolni_subscription
            where ended_at is null and status = 'active' and period_ends_at <= now()
        ),
        coalesce(sum(renewed), 0)::bigint,
        coalesce(sum(lapsed), 0)::bigint,
        coalesce(sum(resumed), 0)::bigint,
        coalesce(sum(run_done / greatest(1, extract(epoch from done_at - run_began_at))) filter (
            where done_at > now() - interval '1 minute'
        ), 0)::double precision
    from popolni_renewalprogress"""


def _renewals() -> Iterator[Metric]:
    """How far the renewals are: what is due, what was done, how fast."""
    with django.db.connection.cursor() as cursor:
        cursor.execute(_RENEWALS)
        ((due, renewed, lapsed, resumed, per_second),) = cursor.fetchall()
    yield GaugeMetricFamily(
        "popolni_renewals_due",
        "Subscriptions whose period has ended and is not dealt with yet",
        due,
    )
    done = CounterMetricFamily(
        "popolni_renewals", "Subscriptions that were renewed, lapsed, resumed", labels=["outcome"]
    )
    for outcome, count in (("renewed", renewed), ("lapsed", lapsed), ("resumed", resumed)):
        done.add_metric([outcome], count)
    yield done
    yield GaugeMetricFamily(
        "popolni_renewals_per_second", "Renewed or lapsed in the run under way", per_second
    )


registry.register(_Standing())


class MetricsMiddleware:
    """Counts every request by the name of its page, of which there are few."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The response, counted."""
        began = perf_counter()
        response = self._get_response(request)
        match = request.resolver_match
        page = (match.view_name if match else None) or "none"
        REQUESTS.labels(page, str(response.status_code)).inc()
        SECONDS.labels(page).observe(perf_counter() - began)
        return response


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """All figures, as text; to anybody else there is nothing here."""
    if not _may_read(request):
        raise Http404
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    return may_read(
        read_from(os.environ),
        read_token(os.environ),
        read_address(client_address(request) or ""),
        request.headers.get("Authorization", "").encode(),
        # Where no proxy is said to stand before us, who sends such a header is one all the same.
        is_forwarded=not settings.HTTPS and any(name in request.headers for name in FORWARDED),
    )
