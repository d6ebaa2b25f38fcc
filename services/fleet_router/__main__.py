"""`python -m fleet_router`, the same as `modelfleet router`."""

from fleet_router.command import app

app()
