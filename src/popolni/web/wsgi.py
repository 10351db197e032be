"""What Granian serves: people's program as a WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

from popolni.core.parent import end_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "popolni.settings")

application = get_wsgi_application()
end_with_parent()
