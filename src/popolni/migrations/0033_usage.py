from django.core.validators import MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("popolni", "0032_renewals"),
    ]

    operations = [
        migrations.AddField(
            model_name="branch",
            name="low_balance_minor",
            field=models.BigIntegerField(
                blank=True,
                help_text="who uses up the money to less than this is warned; empty: nobody is",
                null=True,
                validators=[MinValueValidator(0)],
                verbose_name="a balance is low below",
            ),
        ),
    ]
