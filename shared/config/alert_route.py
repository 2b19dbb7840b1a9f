"""Where alerts go."""

from dataclasses import dataclass, fields

from shared.secret import SecretUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRoute:
    """Whom alerts go to: any number of these ways at once."""

    recipient: str = ""  # one e-mail address or several with ";" between them
    teams_url: SecretUrl | None = None
    webhook_url: SecretUrl | None = None

    def with_defaults(self, general: "AlertRoute") -> "AlertRoute":
        """Return this route, with the general one's channel wherever this one names none."""
        return AlertRoute(
            **{each.name: getattr(self, each.name) or getattr(general, each.name) for each in fields(self)}
        )
