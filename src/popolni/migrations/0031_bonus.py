"""Promotions give bonuses: up to where that is decided, and which ended bonuses are done with."""

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models import Q

# What was topped up before there was a reader of promotions gets nothing now.
_DECIDED_SO_FAR = """
    insert into popolni_bonusesdecided (book, seq, passed)
    select book, last_seq, '{}' from ledger.book
"""


class Migration(migrations.Migration):
    dependencies = [
        ("popolni", "0030_set_aside"),
    ]

    operations = [
        migrations.CreateModel(
            name="BonusesDecided",
            fields=[
                ("book", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("seq", models.BigIntegerField(default=0)),
                (
                    "passed",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, size=None
                    ),
                ),
            ],
        ),
        migrations.RunSQL(_DECIDED_SO_FAR, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="allowance",
            name="expired_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="allowance",
            index=models.Index(
                models.F("ends_at"),
                condition=Q(promotion__isnull=False, expired_at=None),
                name="bonus_to_expire",
            ),
        ),
    ]
