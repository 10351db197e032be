"""The one Django app: all rooms share it, and its one history of migrations."""

from typing import Any

from auditlog.apps import AuditlogConfig
from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class TrailConfig(AuditlogConfig):  # type: ignore[misc]  # auditlog carries no types
    """The audit trail, by the name that our pages call it."""

    verbose_name = _("Audit trail")


class PopolniConfig(AppConfig):
    """Popolni, to Django."""

    name = "popolni"
    verbose_name = "Popolni"

    def ready(self) -> None:
        """What staff change is recorded; roles are as their table says after every migration."""
        from popolni.audit import register_audited  # noqa: PLC0415  # models are loaded by now

        register_audited()
        post_migrate.connect(_create_roles, sender=self, dispatch_uid="popolni roles")


def _create_roles(**_context: Any) -> None:
    from popolni.agents.roles import create_roles  # noqa: PLC0415  # models are loaded by now

    create_roles()  # auth's own receiver came first and made the permissions; we are the last app
