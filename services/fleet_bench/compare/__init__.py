"""`modelfleet bench compare`: two servers, the same requests in turns, and how their answers agree.

A is the reference and B what is compared with it. `turns` measures, `agreement` compares answers,
`outcome` holds what was found, `report` and `plot` write it.
"""
