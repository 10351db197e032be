from importlib.resources import files

from django.db import migrations

LEDGER = files("popolni.ledger")


class Migration(migrations.Migration):
    """The ledger: its tables, and the functions that are the only door to them."""

    dependencies = [("popolni", "0001_reference_data")]
    operations = [
        migrations.RunSQL(
            LEDGER.joinpath("schema.sql").read_text(), reverse_sql="drop schema ledger cascade"
        ),
        *(
            migrations.RunSQL(LEDGER.joinpath(name).read_text(), migrations.RunSQL.noop)
            for name in ("accounts.sql", "transfer.sql", "post.sql")
        ),
    ]
