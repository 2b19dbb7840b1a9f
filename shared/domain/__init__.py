"""The rules, as pure values: nothing in here talks to anything."""
