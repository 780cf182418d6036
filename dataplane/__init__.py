"""The data plane: a lean HTTP proxy that enforces the configuration it was last given."""
