"""The specification in plain Python integers: slow, obvious, and what every other backend must equal."""
