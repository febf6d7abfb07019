# The commands of everyday work; `just` alone lists them. `pip install -e '.[dev]'` brings just itself.

[private]
default:
    @just --list

# The default tests; more arguments go to pytest
test *arguments:
    pytest {{ arguments }}

# The tests of some seconds each (tests/heavy.txt)
heavy *arguments:
    pytest -m heavy {{ arguments }}

# The slow tests: long fault and training runs
slow *arguments:
    pytest -m slow {{ arguments }}

# Lint, types, floors
lint:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# The site, its links checked
docs:
    mkdocs build --strict

# What follows from the code and the catalogue, written anew: keys for completion, sizes, tables of README and the site
make:
    python docs/make.py texts

# The same, and the shipped models evaluated again and every picture drawn
pictures:
    python docs/make.py

# Small faults put into the code, which the tests must find
mutate *arguments:
    python tools/mutate.py {{ arguments }}

# What one call reads on its way
walk *arguments:
    python tools/walk.py {{ arguments }}

# constraints.txt anew: the newest release of everything that our bounds allow
lock:
    uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 --all-extras --no-annotate --no-emit-index-url --custom-compile-command "just lock" --output-file constraints.txt pyproject.toml
