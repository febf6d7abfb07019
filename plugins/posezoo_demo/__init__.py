"""Embedded demo data of posezoo: a street loop and three small places of a made-up town.

The pictures and poses in ``loop/`` and ``places/`` are our own work, rendered by the scripts in ``render/`` and
licensed under Apache-2.0 like the rest of the repository.  See ``README.md`` for the contents and the conventions.
"""
