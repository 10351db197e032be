from importlib.resources import files

from django.db import migrations

# What a snapshot of the catalogue is made of (topups.catalogue). A change of any is notified
# once per statement, at COMMIT; the same notice of one transaction is delivered once.
TABLES = (
    "agent",
    "branch",
    "channellimit",
    "commission",
    "complianceprofile",
    "contract",
    "credential",
    "methodsetting",
    "operator",
    "outlet",
    "planversion",
    "promotion",
    "promotion_plans",
)


class Migration(migrations.Migration):
    """For the switch: news of the catalogue, the log by time, accounts for memos."""

    dependencies = [("popolni", "0010_machines")]
    operations = [
        migrations.RunSQL(
            files("popolni.ledger").joinpath("since.sql").read_text(),
            "drop function ledger.first_seq_since",
        ),
        migrations.RunSQL(
            """
            create function catalogue_has_changed() returns trigger language plpgsql as $$
            begin
                notify popolni_catalogue;
                return null;
            end;
            $$;
            """
            + "".join(
                f"""
                create trigger catalogue_has_changed
                after insert or update or delete or truncate on popolni_{table}
                for each statement execute function catalogue_has_changed();
                """
                for table in TABLES
            ),
            "drop function catalogue_has_changed() cascade",
        ),
        # A few floats debit most of a log, and so the planner takes any account for one of those:
        # to find the debits of one number in a month it would read all the month, for each number.
        # It is told that an account has twenty transfers; what is commoner it knows by itself.
        migrations.RunSQL(
            "alter table ledger.transfer alter column debit_account set (n_distinct = -0.05)",
            "alter table ledger.transfer alter column debit_account reset (n_distinct)",
        ),
        # Books that are open already; every new one gets these with its other accounts.
        migrations.RunSQL(
            """
            select ledger.open_accounts(
                book,
                array[911000000000000000, 912000000000000000]::bigint[],
                array[1, 1]::smallint[],
                array[911, 912]::smallint[],
                array[0, 0]::smallint[]
            )
            from popolni_branch
            """,
            migrations.RunSQL.noop,
        ),
    ]
