"""Django's settings. What differs between installations comes from the environment.

- ``POPOLNI_DATABASE_URL``: the database.
- ``POPOLNI_SECRET_KEY``: signs sessions and forms; a long random text, kept secret.
- ``POPOLNI_DATA_KEYS``: seals identity documents and webhooks' secrets (`subscribers.sealing`).
- ``POPOLNI_HOSTS``: the names that the pages are served under, separated by commas.
- ``POPOLNI_HTTPS=1``: a proxy before us speaks TLS; cookies go over nothing else.
- ``POPOLNI_TIME_ZONE``: of the pages; Europe/Moscow if not set.
- ``POPOLNI_DEMO=1``: every page says that it is the demo, nobody needs a second factor, and
  webhooks may go to this machine.
"""

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.templatetags.static import static
from django.utils.translation import gettext_lazy as _
from psycopg.conninfo import conninfo_to_dict

HERE = Path(__file__).parent


def database(url: str) -> dict[str, Any]:
    """A PostgreSQL URL as Django wants it."""
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
        "CONN_HEALTH_CHECKS": True,  # PostgreSQL may have been started again
    }


DEMO = os.environ.get("POPOLNI_DEMO") == "1"
HTTPS = os.environ.get("POPOLNI_HTTPS") == "1"
HOSTS = os.environ.get("POPOLNI_HOSTS", "")

SECRET_KEY = os.environ.get("POPOLNI_SECRET_KEY", "")
DATABASES = {"default": database(os.environ.get("POPOLNI_DATABASE_URL", "").strip())}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "popolni.User"
USE_TZ = True
TIME_ZONE = os.environ.get("POPOLNI_TIME_ZONE", "Europe/Moscow")  # a branch's days are in its own
FORMAT_MODULE_PATH = ["popolni.web.formats"]

LANGUAGE_CODE = "en"  # of the texts in the code
LANGUAGES = [("ru", "Русский"), ("en", "English"), ("zh-hans", "中文")]
LOCALE_PATHS = [HERE / "locale"]

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.forms",
    "unfold.contrib.filters",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "popolni.apps.TrailConfig",
    "axes",
    "csp",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "popolni.apps.PopolniConfig",
]
MIDDLEWARE = [
    "popolni.web.metrics.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "popolni.audit.AuditMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "popolni.web.urls"
WSGI_APPLICATION = "popolni.web.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "libraries": {"office": "popolni.web.office.tags"},
        },
    }
]
STATIC_URL = "/static/"
STATICFILES_DIRS = [HERE / "web" / "static"]
WHITENOISE_USE_FINDERS = True  # no folder to collect files into

ALLOWED_HOSTS = [host.strip() for host in HOSTS.split(",") if host.strip()] or [
    "localhost",
    "127.0.0.1",
    "[::1]",
]
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS] if HTTPS else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 3600  # a working day
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
X_FRAME_OPTIONS = "DENY"
# What a page may load and do: our own files, and nothing that somebody wrote into a page. Scripts
# are files, but Alpine makes functions of what stands in the framework's attributes, and a few
# elements have a style of their own; no `<style>` and no `<script>` with text in it is obeyed.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, UNSAFE_EVAL],
        "script-src-attr": [NONE],
        "style-src": [SELF],
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [SELF],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
    }
}
CSRF_FAILURE_VIEW = "popolni.web.office.faults.expired"

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "admin:login"

# Five wrong passwords for a login from an address: a quarter of an hour without either. How many
# from all addresses, `web.office.guessing` says.
AXES_HANDLER = "popolni.web.office.guessing.Handler"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or whoever goes on trying keeps others out
AXES_LOCKOUT_CALLABLE = "popolni.web.office.faults.locked_out"
AXES_VERBOSE = False
AXES_ENABLE_ACCESS_FAILURE_LOG = True
AXES_CLIENT_IP_CALLABLE = "popolni.web.office.guessing.source"
OTP_TOTP_ISSUER = "Popolni"

AUDITLOG_DISABLE_REMOTE_ADDR = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Popolni",
    "SITE_HEADER": "Popolni",
    "SITE_SUBHEADER": _("back office"),
    "SITE_SYMBOL": "sim_card",
    "SITE_URL": None,
    "SHOW_LANGUAGES": True,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("office/favicon.svg"),
        }
    ],
    "STYLES": [
        lambda _request: static("office/colours.css"),
        lambda _request: static("office/office.css"),
    ],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,  # that of the framework can be edited; the audit trail cannot
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
}
