"""The whole story on real data, on one machine: `python -m compute.demo`, which is `make demo`."""
