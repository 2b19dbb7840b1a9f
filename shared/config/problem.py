"""What is wrong with the configuration, in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is missing or wrong in the configuration."""

    setting: str  # "FO_URL", or "INTEGRATIONS, imports[0].company"
    wrong: str  # goes on where the name stops: "is missing."
    example: str = ""
    flow: str = ""  # the name of the flow that it is about, if the setting says only its number

    def __str__(self) -> str:
        flow = f" Flow: {self.flow}." if self.flow else ""
        return f"{self.setting} {self.wrong}{flow}" + (f" Example: {self.example}" if self.example else "")
