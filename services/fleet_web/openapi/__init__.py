"""The OpenAPI documents of both web apps: which operations there are, derived from the shapes in
fleet_contract.api, and GET /openapi.json.

`operation` is what is said of one route, `inference` and `housekeeping` say it of all there are,
`document` puts them together, `serving` answers with the whole.
"""
