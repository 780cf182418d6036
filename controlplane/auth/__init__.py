"""Who may do what here: credentials, roles, sessions, and the gates in front of REST and gRPC.

Rules: nothing is open unless `roles` says so; what is random is kept as SHA-256, what people choose as argon2id; no
request costs a query (`access` is read from memory); every change and every login writes an audit row.
"""
