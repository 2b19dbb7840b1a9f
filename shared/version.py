"""Which version of the app this is. Published with it, so that a person who looks at a running app can tell."""

from typing import Final

VERSION: Final = "1.0"
