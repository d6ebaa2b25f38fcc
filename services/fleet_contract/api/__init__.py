"""Request and response bodies of the HTTP API, one module for each group of routes.

Servers parse requests and build responses with them, and the OpenAPI documents (fleet_web.openapi)
are generated from them.
"""
