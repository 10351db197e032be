"""What Granian serves: people's program as a WSGI application.

A worker of Granian whose own first process was killed would keep the port for ever; it ends.
"""

import multiprocessing
import os
import threading

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "popolni.settings")

application = get_wsgi_application()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


threading.Thread(target=_end_with_parent, daemon=True).start()
