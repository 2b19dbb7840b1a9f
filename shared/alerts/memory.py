"""What one process remembers of the alerts that it has delivered: a hint, never a proof."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class AlertMemory:
    """Of one process."""

    checked_at: dict[str, float] = field(default_factory=dict)  # by key: when it was last checked for being resolved
    delivery_error: Exception | None = None  # of the timer's last minute
