"""Bearer tokens (JWT): whom they are of, and the keys that vouch for them.

Only configurations that ask for `type: jwt` pay for it: what needs the cryptographic library (`verifier`, `bearer`) is
imported by the filter's `build`, what fetches keys (`fetch`) with the first fetch.
"""
