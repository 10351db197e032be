"""PostgreSQL without an installation: what a laptop, a demo and the tests run on."""
