"""`python -m fleet_operator` is `modelfleet operator`."""

from fleet_operator.command import app

app()
