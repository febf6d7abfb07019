"""Filling the zoo.

push.py    a model folder to a repository of the hub
build.py   an alias from its recipe to its published, pinned entry
"""
