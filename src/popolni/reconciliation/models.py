"""How agents write registries, what comparing them found, and what was settled with them."""

from datetime import time

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, pgettext_lazy

from popolni.agents.models import Agent, Contract
from popolni.catalog.labels import CHANNELS
from popolni.protocols.registry_layout import (
    HEADER_LINES_MAX,
    Column,
    Encoding,
    Layout,
    SumUnit,
    TotalColumn,
)
from popolni.topups.models import Adjustment

MIDNIGHT_MINUTES = 30
COLUMNS = [
    (Column.REFERENCE.value, _("their identifier")),
    (Column.DATE.value, _("date")),
    (Column.TIME.value, _("time")),
    (Column.NUMBER.value, _("number")),
    (Column.SUM.value, _("sum")),
    (Column.RECEIPT.value, _("our receipt")),
    (Column.OTHER.value, _("anything else")),
]
TOTAL_COLUMNS = [
    (TotalColumn.MARK.value, _("the word")),
    (TotalColumn.COUNT.value, _("how many payments")),
    (TotalColumn.SUM.value, pgettext_lazy("total line", "their sum")),
    (TotalColumn.OTHER.value, _("anything else")),
]
SEPARATORS = [(";", ";"), (",", ","), ("\t", _("tabulator")), ("|", "|")]
ENCODINGS = [
    (Encoding.UTF_8.value, "UTF-8"),
    (Encoding.CP1251.value, "Windows-1251"),
    (Encoding.CP866.value, "CP866"),
    (Encoding.KOI8_R.value, "KOI8-R"),
]
SUM_UNITS = [(SumUnit.RUBLES.value, _("roubles")), (SumUnit.KOPECKS.value, _("kopecks"))]
MARKS = [(".", "."), (",", ",")]

LAYOUT_FAULTS = (
    gettext_noop("the column reference is missing"),
    gettext_noop("the column sum is missing"),
    gettext_noop("a column comes twice"),
    gettext_noop("a time without a date is no moment"),
    gettext_noop("columns are parted by ; , | or a tabulator"),
    gettext_noop("the decimal mark is a point or a comma"),
    gettext_noop("there are too many header lines"),
    gettext_noop("the word of the total line is of one line"),
    gettext_noop("a total line has a count or a sum"),
    gettext_noop("the date's format has no YYYY, MM and DD"),
    gettext_noop("the time stands in a column of its own and in the date"),
    gettext_noop("the time's format has hh, and no day"),
    gettext_noop("a format is such as DD.MM.YYYY hh:mm:ss"),
)
"""What `Layout` says of itself, so that it is translated."""


def _columns() -> list[str]:
    return [column.value for column in Layout().columns]


class RegistryLayout(models.Model):
    """How an agent writes a channel's registries, and which are sent from either side.

    An identifier is the agent's own within a channel, whichever branch the payment goes to: so a
    registry is of an agent and a channel, for all branches.
    """

    agent = models.ForeignKey(
        Agent, models.PROTECT, related_name="layouts", verbose_name=_("agent")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS)
    columns = ArrayField(
        models.CharField(max_length=10, choices=COLUMNS),
        default=_columns,
        verbose_name=_("columns, in their order"),
    )
    separator = models.CharField(_("separator"), max_length=1, choices=SEPARATORS, default=";")
    encoding = models.CharField(
        _("encoding"), max_length=10, choices=ENCODINGS, default=Encoding.UTF_8.value
    )
    date_format = models.CharField(
        _("format of dates"),
        max_length=40,
        default="YYYYMMDDhhmmss",
        help_text=_("of YYYY or YY, MM, DD, hh, mm, ss: such as DD.MM.YYYY hh:mm:ss"),
    )
    time_format = models.CharField(
        _("format of times"),
        max_length=20,
        default="hh:mm:ss",
        help_text=_("where they stand in a column of their own"),
    )
    sum_unit = models.CharField(
        _("sums in"), max_length=10, choices=SUM_UNITS, default=SumUnit.RUBLES.value
    )
    decimal_mark = models.CharField(_("decimal mark"), max_length=1, choices=MARKS, default=".")
    header_lines = models.PositiveSmallIntegerField(
        _("lines before the first payment"),
        default=0,
        validators=[MaxValueValidator(HEADER_LINES_MAX)],
    )
    total_columns = ArrayField(
        models.CharField(max_length=10, choices=TOTAL_COLUMNS),
        default=list,
        blank=True,
        verbose_name=_("columns of the last line"),
    )
    total_mark = models.CharField(_("its word"), max_length=40, blank=True)
    time_zone = models.CharField(
        _("time zone of the dates"),
        max_length=50,
        blank=True,
        help_text=_("empty: that of each payment's branch; terminals (OSMP) say Moscow's"),
    )
    midnight_minutes = models.PositiveSmallIntegerField(
        _("either day's, minutes around midnight"),
        default=MIDNIGHT_MINUTES,
        validators=[MaxValueValidator(6 * 60)],
        help_text=_("a payment so near to midnight may be in the registry of either day"),
    )
    expects_from = models.DateField(
        _("sends one for each day from"), null=True, blank=True, help_text=_("empty: it need not")
    )
    expected_by = models.TimeField(
        _("until, on the next day"),
        default=time(12),
        help_text=_("after that a missing one is shown on the dashboard"),
    )
    writes_from = models.DateField(
        _("gets ours for each day from"), null=True, blank=True, help_text=_("empty: none")
    )

    class Meta:
        verbose_name = _("registry layout")
        verbose_name_plural = _("registry layouts")
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint("agent", "channel", name="one_layout_per_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} · {self.channel}"

    def clean(self) -> None:
        """Refuses what no file can be like."""
        try:
            self.layout()
        except ValueError as error:
            raise ValidationError(_(str(error))) from error

    def layout(self) -> Layout:
        """As the protocol's reader and writer take it."""
        return Layout(
            columns=tuple(map(Column, self.columns)),
            separator=self.separator,
            encoding=Encoding(self.encoding),
            date_format=self.date_format,
            time_format=self.time_format,
            sum_unit=SumUnit(self.sum_unit),
            decimal_mark=self.decimal_mark,
            header_lines=self.header_lines,
            total_columns=tuple(map(TotalColumn, self.total_columns)),
            total_mark=self.total_mark,
        )


class Reconciliation(models.Model):
    """A run: an agent's file compared with our log, for these days. The same again is the same."""

    class State(models.TextChoices):
        """waiting → running → done, or unreadable, which a mended layout may read after all."""

        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("being compared")
        DONE = "done", _("compared")
        UNREADABLE = "unreadable", _("can't be read")

    agent = models.ForeignKey(
        Agent, models.PROTECT, related_name="reconciliations", verbose_name=_("agent")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS)
    sha256 = models.CharField("SHA-256", max_length=64)
    first_day = models.DateField(_("first day"))
    last_day = models.DateField(_("last day"))
    file_name = models.CharField(_("file"), max_length=300)
    bytes = models.BigIntegerField(_("bytes"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    faults = models.JSONField(_("faults"), default=list)
    faults_count = models.PositiveIntegerField(_("lines that can't be read"), default=0)
    progress = models.PositiveSmallIntegerField(_("per cent"), default=0)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("started by"),
    )
    created_at = models.DateTimeField(_("begun"), default=timezone.now)
    done_at = models.DateTimeField(_("done"), null=True, blank=True)
    theirs = models.PositiveIntegerField(_("their payments"), default=0)
    theirs_minor = models.BigIntegerField(_("their sum"), default=0)
    ours = models.PositiveIntegerField(_("our payments"), default=0)
    ours_minor = models.BigIntegerField(_("our sum"), default=0)
    matched = models.PositiveIntegerField(_("matched"), default=0)
    only_ours = models.PositiveIntegerField(_("only ours"), default=0)
    only_theirs = models.PositiveIntegerField(_("only theirs"), default=0)
    sum_differs = models.PositiveIntegerField(_("sum differs"), default=0)
    number_differs = models.PositiveIntegerField(_("number differs"), default=0)
    date_differs = models.PositiveIntegerField(_("date differs"), default=0)

    class Meta:
        verbose_name = _("reconciliation")
        verbose_name_plural = _("reconciliations")
        default_permissions = ("add", "view")
        permissions = [("settle_difference", "Can ask for a difference to be settled")]
        constraints = [
            models.UniqueConstraint(
                "agent", "channel", "sha256", "first_day", "last_day", name="one_run_per_file"
            ),
            models.CheckConstraint(
                name="run_days", condition=Q(last_day__gte=models.F("first_day"))
            ),
        ]
        indexes = [models.Index("agent", "channel", "last_day", name="run_of_day")]

    def __str__(self) -> str:
        return f"№ {self.pk}"

    @property
    def differences_count(self) -> int:
        """Of all kinds."""
        return (
            self.only_ours
            + self.only_theirs
            + self.sum_differs
            + self.number_differs
            + self.date_differs
        )


class Difference(models.Model):
    """What the two sides say differently about a payment."""

    class Kind(models.TextChoices):
        """Of several the first."""

        ONLY_OURS = "only_ours", _("only ours")
        ONLY_THEIRS = "only_theirs", _("only theirs")
        NUMBER_DIFFERS = "number_differs", _("number differs")
        SUM_DIFFERS = "sum_differs", _("sum differs")
        DATE_DIFFERS = "date_differs", _("date differs")

    class Why(models.TextChoices):
        """What we know of a payment that only they have."""

        NONE = "", "–"
        REVERSED = "reversed", _("it was reversed")
        REFUSED = "refused", _("we refused it")
        PENDING = "pending", _("it is still pending")
        TWICE = "twice", _("the file has it twice")

    class State(models.TextChoices):
        """edge → open or found; open → asked → accepted, or open again.

        What money is moved for is settled when its adjustment is posted.
        """

        EDGE = "edge", _("may be in the next day's file")
        OPEN = "open", pgettext_lazy("a difference", "open")
        FOUND = "found", _("found in another file")
        ASKED = "asked", _("waiting for approval")
        ACCEPTED = "accepted", _("accepted")

    run = models.ForeignKey(
        Reconciliation, models.CASCADE, related_name="differences", verbose_name=_("reconciliation")
    )
    kind = models.CharField(_("kind"), max_length=15, choices=Kind)
    why = models.CharField(_("what we know"), max_length=10, choices=Why, blank=True)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    reference = models.CharField(_("their identifier"), max_length=200)
    line = models.PositiveIntegerField(_("line of the file"), null=True, blank=True)
    their_number = models.BigIntegerField(_("their number"), null=True, blank=True)
    their_minor = models.BigIntegerField(_("their sum"), null=True, blank=True)
    their_at = models.CharField(_("their date"), max_length=19, blank=True)
    book = models.PositiveIntegerField(_("book"), null=True, blank=True)
    seq = models.BigIntegerField(_("place in the log"), null=True, blank=True)
    our_number = models.BigIntegerField(_("our number"), null=True, blank=True)
    our_minor = models.BigIntegerField(_("our sum"), null=True, blank=True)
    our_at = models.CharField(_("our date"), max_length=19, blank=True)
    edge_day = models.DateField(_("the other day"), null=True, blank=True)
    adjustment = models.ForeignKey(
        Adjustment,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="differences",
        verbose_name=_("adjustment"),
    )
    note = models.CharField(_("note"), max_length=300, blank=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("asked by"),
    )
    asked_at = models.DateTimeField(_("asked at"), null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)

    class Meta:
        verbose_name = _("difference")
        verbose_name_plural = _("differences")
        default_permissions = ()
        indexes = [
            models.Index("run", "kind", "id", name="difference_of_run"),
            models.Index("book", "seq", name="difference_only_ours", condition=Q(kind="only_ours")),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"


class Elsewhere(models.Model):
    """A payment of ours that a run found in a file of other days than its own.

    So the registry of its own day is not said to lack it.
    """

    run = models.ForeignKey(Reconciliation, models.CASCADE, related_name="+")
    book = models.PositiveIntegerField()
    seq = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint("book", "seq", "run", name="one_per_run")]

    def __str__(self) -> str:
        return f"{self.book}-{self.seq}"


class UploadedPart(models.Model):
    """A piece of a file that waits to be compared; gone when it was."""

    run = models.ForeignKey(Reconciliation, models.CASCADE, related_name="parts")
    place = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint("run", "place", name="one_part_per_place")]

    def __str__(self) -> str:
        return f"№ {self.run_id}: {self.place}"


class WrittenRegistry(models.Model):
    """A registry of ours: of what an agent's channel credited on a day, for the agent."""

    layout = models.ForeignKey(
        RegistryLayout, models.PROTECT, related_name="written", verbose_name=_("registry layout")
    )
    day = models.DateField(_("day"))
    lines = models.PositiveIntegerField(_("payments"))
    sum_minor = models.BigIntegerField(_("sum"))
    sha256 = models.CharField("SHA-256", max_length=64)
    file_name = models.CharField(_("file"), max_length=300, blank=True)
    written_at = models.DateTimeField(_("written at"), default=timezone.now)

    class Meta:
        verbose_name = _("registry of ours")
        verbose_name_plural = _("registries of ours")
        default_permissions = ()
        constraints = [models.UniqueConstraint("layout", "day", name="one_registry_per_day")]

    def __str__(self) -> str:
        return f"{self.layout}, {self.day}"


class Settlement(models.Model):
    """A day's commission of a contract's channel.

    `earned_minor` is of the day's top-ups, `taken_back_minor` of what was reversed that day,
    `carried_minor` what an earlier day took back and no later one has earned yet (0 or less).
    What is paid is their sum if that is more than 0; if it is less, the next day carries it.
    """

    contract = models.ForeignKey(
        Contract, models.PROTECT, related_name="settlements", verbose_name=_("contract")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=CHANNELS)
    day = models.DateField(_("day"))
    basis_points = models.PositiveSmallIntegerField(_("commission, hundredths of a per cent"))
    top_ups = models.PositiveIntegerField(_("top-ups"))
    earned_minor = models.BigIntegerField(_("earned"))
    taken_back_minor = models.BigIntegerField(_("taken back"))
    carried_minor = models.BigIntegerField(_("carried"))
    paid_minor = models.BigIntegerField(_("paid"))
    settled_at = models.DateTimeField(_("settled at"), default=timezone.now)

    class Meta:
        verbose_name = _("commission of a day")
        verbose_name_plural = _("commissions of days")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint("contract", "channel", "day", name="settled_once"),
            models.CheckConstraint(
                name="settlement_sums",
                condition=Q(earned_minor__gte=0)
                & Q(taken_back_minor__gte=0)
                & Q(carried_minor__lte=0)
                & Q(paid_minor__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.contract_id} {self.channel} {self.day}"

    @property
    def carries_minor(self) -> int:
        """What the next day carries."""
        total: int = self.earned_minor - self.taken_back_minor + self.carried_minor
        return min(0, total)
