from django.db import migrations, models


class Migration(migrations.Migration):
    """For outlets: whose agents must name them, and what each took on a day."""

    dependencies = [("popolni", "0035_reconciliation")]
    operations = [
        migrations.AddField(
            model_name="agent",
            name="names_outlets",
            field=models.BooleanField(
                default=False,
                help_text="a top-up that names none of its outlets is refused",
                verbose_name="names its outlets",
            ),
        ),
        # Of top-ups alone, and of those that name one: no other entry pays for it.
        migrations.RunSQL(
            """
            create index transfer_outlets on ledger.transfer (book, reference_id, created_at)
            where code between 11 and 16 and reference_id is not null
            """,
            "drop index ledger.transfer_outlets",
        ),
    ]
