"""People's program: the Django project with its pages."""
