"""Rollouts: a revision comes to the nodes in waves, is judged by what they serve, and goes back by itself.

`machine` decides and `gates` judges, both pure; `tables` keeps, `rollouts` drives. Docs: docs/concepts/rollouts.md.
"""
