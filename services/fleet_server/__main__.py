"""`python -m fleet_server`, which is `modelfleet server` without the other subcommands."""

from fleet_server.command import app

app()
