import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("popolni", "0020_webhooks"),
    ]

    operations = [
        migrations.CreateModel(
            name="JobTurn",
            fields=[
                ("name", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("due_at", models.DateTimeField()),
                ("done_at", models.DateTimeField(null=True)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="SendingTotal",
            fields=[
                ("outcome", models.CharField(max_length=10, primary_key=True, serialize=False)),
                ("sendings", models.BigIntegerField()),
                ("seconds", models.FloatField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="SetAside",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reader", models.CharField(max_length=50, verbose_name="reader")),
                ("book", models.PositiveIntegerField(verbose_name="book")),
                ("seq", models.BigIntegerField(verbose_name="place in the log")),
                ("reason", models.CharField(max_length=300, verbose_name="reason")),
                ("tries", models.PositiveIntegerField(verbose_name="tries")),
                (
                    "set_aside_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="set aside at"
                    ),
                ),
                (
                    "resolved_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="resolved at"),
                ),
                (
                    "how",
                    models.CharField(
                        blank=True,
                        choices=[("again", "handled later"), ("dismissed", "dismissed")],
                        max_length=10,
                        verbose_name="what became of it",
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=200, verbose_name="note")),
            ],
            options={
                "verbose_name": "entry set aside",
                "verbose_name_plural": "entries set aside",
                "default_permissions": ("view", "change"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("resolved_at", None)),
                        fields=["reader", "book"],
                        name="set_aside_open",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("reader", "book", "seq"), name="set_aside_once")
                ],
            },
        ),
    ]
