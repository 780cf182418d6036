"""What keeps a worker alive when more is asked than it can do: a gate with a queue, stages, an adaptive limit."""
