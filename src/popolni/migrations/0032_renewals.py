import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """What renews a subscription by itself: its anchor, the plan after this one, what is due."""

    dependencies = [
        ("popolni", "0031_bonus"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="subscription",
            options={
                "permissions": [
                    ("manage_subscription", "Can change a number's plan and its renewal")
                ],
                "verbose_name": "subscription",
                "verbose_name_plural": "subscriptions",
            },
        ),
        migrations.AddField(
            model_name="subscription",
            name="anchored_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(),
                default=django.utils.timezone.now,
                verbose_name="periods are counted from",
            ),
        ),
        migrations.RunSQL(
            "update popolni_subscription set anchored_at = started_at", migrations.RunSQL.noop
        ),
        migrations.AddField(
            model_name="subscription",
            name="next_version",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="queued_set",
                to="popolni.planversion",
                verbose_name="next plan",
            ),
        ),
        migrations.AddIndex(
            model_name="subscription",
            index=models.Index(
                models.F("period_ends_at"),
                models.F("id"),
                condition=models.Q(("ended_at", None), ("status", "active")),
                name="subscription_due",
            ),
        ),
        migrations.CreateModel(
            name="RenewalProgress",
            fields=[
                ("book", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("renewed", models.BigIntegerField(default=0)),
                ("lapsed", models.BigIntegerField(default=0)),
                ("resumed", models.BigIntegerField(default=0)),
                ("run_began_at", models.DateTimeField()),
                ("run_done", models.BigIntegerField()),
                ("done_at", models.DateTimeField()),
            ],
            options={"default_permissions": ()},
        ),
    ]
