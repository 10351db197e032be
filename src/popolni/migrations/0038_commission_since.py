from datetime import UTC, datetime

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """Since when a channel has a commission: the days before earn none."""

    dependencies = [("popolni", "0036_switch_gaps")]
    operations = [
        migrations.AddField(
            model_name="commission",
            name="agreed_at",
            # Of those that are there nobody knows: they are paid as they were.
            field=models.DateTimeField(
                default=datetime(2000, 1, 1, tzinfo=UTC),
                editable=False,
                verbose_name="agreed at",
            ),
        ),
        migrations.AlterField(
            model_name="commission",
            name="agreed_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, editable=False, verbose_name="agreed at"
            ),
        ),
    ]
