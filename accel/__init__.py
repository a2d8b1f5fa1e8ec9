"""Arithmetic at hardware speed. Knows no parties and no jobs; README.md lists the public API."""
