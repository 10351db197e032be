from django.db import migrations


class Migration(migrations.Migration):
    """To close a number for good is a permission of its own."""

    dependencies = [
        ("popolni", "0004_sent_forms"),
    ]
    operations = [
        migrations.AlterModelOptions(
            name="number",
            options={
                "permissions": [("close_number", "Can close numbers for good")],
                "verbose_name": "number",
                "verbose_name_plural": "numbers",
            },
        ),
    ]
