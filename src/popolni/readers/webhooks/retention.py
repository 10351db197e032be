"""For how long it is kept what was told; what happened before that is told no more.

So a log that is read again from zero makes no second delivery of one that was deleted.
"""

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from popolni.core.errors import UserError
from popolni.readers.jobs import Job

VARIABLE = "POPOLNI_WEBHOOKS_KEEP_DAYS"
DAYS, DAYS_MAX = 90, 36_500
DAY_S = 24 * 3600
PART = 5_000
"""Most that are deleted in one transaction."""

# The oldest have the lowest keys. What waits is kept, however old.
_DELETE = """
    delete from popolni_delivery
    where id in (
        select id from popolni_delivery
        where state <> 'waiting' and created_at < %s
        order by id
        limit %s
    )
"""


def read_days(environment: Mapping[str, str] = os.environ) -> int:
    """For how many days. Raises UserError if it can't be read."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return DAYS
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= DAYS_MAX:
        raise UserError(f"{VARIABLE}: {text!r} is not a number of days from 1 to {DAYS_MAX}")
    return int(text)


def kept_since() -> datetime:
    """What happened before is told no more, and what was told before is deleted."""
    return timezone.now() - timedelta(days=read_days())


def delete_old() -> bool:
    """Deletes some of what was delivered, or given up, before that. Whether there is more."""
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, (kept_since(), PART))
        return bool(cursor.rowcount == PART)


JOB = Job("webhooks retention", DAY_S, delete_old)
