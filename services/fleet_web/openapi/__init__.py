"""The OpenAPI documents of router and servers: operations whose schemas come from
fleet_contract.api."""
