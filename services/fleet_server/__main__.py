"""`python -m fleet_server`: the same as `modelfleet server`, without the other subcommands."""

from fleet_server.command import app

app()
