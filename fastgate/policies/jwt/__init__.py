"""JSON Web Tokens: who asks, as an issuer has signed it.

`keys` reads keys, `verifier` judges tokens by them, `method` is what a route's chain asks. `key_sets` is what a worker
knows of sets of keys that are published; `fetching` fetches them, once for a host.
"""
