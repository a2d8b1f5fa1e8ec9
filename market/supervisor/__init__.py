"""Runs a whole market on one machine: chain, portal, workers and party nodes, each a process of its own.

`python -m market.supervisor` is what `make up` calls; see README.md in this folder.
"""
