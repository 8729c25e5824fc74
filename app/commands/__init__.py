"""The commands of `coord-users`, a module for each group.

A command imports what it needs when it runs, so that `--help` answers at once.
"""
