"""`python -m fleet_router`, which local mode starts: the same as `modelfleet router`."""

from fleet_router.command import app

app()
