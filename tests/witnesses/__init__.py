"""Clients that others wrote judge the simulators: they run unmodified, and what they cannot work with is wrong here.

`python dev.py witnesses` installs and runs them all. Plain pytest runs those that it finds installed; each file is one
client, marked with its name. docs/witnesses.md says what each of them has found.
"""
