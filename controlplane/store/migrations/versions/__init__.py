"""The versions, in the order of their numbers; each one names the one before it."""
