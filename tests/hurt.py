"""The command line as torchrun starts it, hurt in one process of the first attempt.

torchrun ... hurt.py train ...     with HURT="RANK=moment:action[:n]", see fault_points.py
"""

from __future__ import annotations

import os
import sys

import fault_points

from posezoo import cli

if __name__ == "__main__":
    rank, _, fault = os.environ.get("HURT", "").partition("=")
    here = rank == os.environ["RANK"] and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    with fault_points.at(fault if here else ""):
        cli.main(sys.argv[1:])
