"""The shapes of the API: what the requests and answers of every route hold, one module for a task.

Servers read requests by them and build answers in them; the OpenAPI documents of servers and router
(fleet_web.openapi) are derived from them, so neither can say what the other does not.
"""
