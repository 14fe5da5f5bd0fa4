"""The fault suite: a lottery under sale while its processes, servers, connections and disk are broken on a seeded plan.

Imports whatever is below, and demo's parts; it looks at the result from outside.
"""
