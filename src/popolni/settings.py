"""Django's settings. What differs between installations comes from the environment."""

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict


def _database(url: str) -> dict[str, Any]:
    """Django's form of a PostgreSQL URL."""
    parts: dict[str, Any] = dict(conninfo_to_dict(url))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": parts,
        "CONN_MAX_AGE": None,
    }


SECRET_KEY = os.environ.get("POPOLNI_SECRET_KEY", "")
DATABASES = {"default": _database(os.environ.get("POPOLNI_DATABASE_URL", ""))}
INSTALLED_APPS = ["popolni.apps.PopolniConfig"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
