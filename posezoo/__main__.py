"""`python -m posezoo`, for torchrun."""

from posezoo.cli import main

if __name__ == "__main__":
    main()
