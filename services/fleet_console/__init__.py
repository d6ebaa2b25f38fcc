"""The console: the page that the router serves at `/`, bundled from `web/src` into `static`."""
