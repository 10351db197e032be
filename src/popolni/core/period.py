"""When a period ends, by the calendar and the clock of a branch.

A period of days ends at the same time of day so many local days later, also when the clocks were
changed in between: it is then an hour shorter or longer. A period of months ends on the anchor
day, the day of the month on which the first one started; in a month without that day, on its last
day. As the anchor is kept, 31 January is followed by 28 (29) February and then by 31 March.

Two local times are special, because the clocks change:

- one that is skipped is moved on by as much as the clocks are: 02:30 becomes 03:30;
- of one that comes twice, it is the first.

Periods may be chained, the next starting where the last one ended. Only after a skipped time the
chain goes on at the moved one; `count` times as many units from the first start never do.
"""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo


def end_of_period(
    starts_at: datetime,
    unit: Literal["day", "month"],
    count: int,
    zone: ZoneInfo,
    anchor_day: int | None = None,
) -> datetime:
    """The moment (UTC) at which a period of `count` units ends; it is later than `starts_at`.

    `anchor_day` (1 to 31) is for months; None: the local day on which this period starts.
    """
    if starts_at.tzinfo is None:
        raise ValueError("a period starts at a moment: a time with its zone")
    if count < 1:
        raise ValueError(f"a period has at least one {unit}, not {count}")
    start = starts_at.astimezone(zone)
    if unit == "day":
        day = start.date() + timedelta(days=count)
    else:
        day = _months_later(start.date(), count, start.day if anchor_day is None else anchor_day)
    # fold 0 is what the module promises for both special times
    return datetime.combine(day, start.time().replace(fold=0), zone).astimezone(UTC)


def _months_later(day: date, count: int, anchor_day: int) -> date:
    if not 1 <= anchor_day <= 31:
        raise ValueError(f"a day of a month is 1 to 31, not {anchor_day}")
    years, month = divmod(day.month - 1 + count, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))
