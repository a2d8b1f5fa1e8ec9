"""`python -m compute.cli` is `liutong`."""

from compute.cli import main

if __name__ == "__main__":
    main()
