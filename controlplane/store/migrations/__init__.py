"""Alembic migrations of the database: one straight line of versions."""
