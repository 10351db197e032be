"""The one Django app: all rooms share it, and its one history of migrations."""

from django.apps import AppConfig


class PopolniConfig(AppConfig):
    """Popolni, to Django."""

    name = "popolni"
    verbose_name = "Popolni"
