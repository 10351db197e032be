from django.db import migrations


class Migration(migrations.Migration):
    """The audit trail is only ever added to, whoever asks."""

    dependencies = [
        ("popolni", "0002_ledger"),
        ("auditlog", "0017_add_actor_email"),
    ]
    operations = [
        migrations.RunSQL(
            """
            create function audit_is_only_added_to() returns trigger language plpgsql as $$
            begin
                raise exception 'the audit trail is only added to' using errcode = '42501';
            end;
            $$;
            create trigger only_added_to before update or delete on auditlog_logentry
            for each row execute function audit_is_only_added_to();
            create trigger never_emptied before truncate on auditlog_logentry
            for each statement execute function audit_is_only_added_to();
            """,
            "drop function audit_is_only_added_to() cascade",
        )
    ]
