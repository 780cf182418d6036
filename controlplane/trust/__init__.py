"""How nodes are trusted: an authority that signs their certificates, tokens to get the first one, and who is let in.

Rules: a node's key never leaves it; a token is used once and kept as SHA-256; what a certificate says of a node wins
over what the node says; whatever is refused says why and is in the audit log. Docs: docs/concepts/nodes.md.
"""
