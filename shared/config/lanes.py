"""The name of the lane in which the runs of a flow queue up."""

import hashlib
import re
import unicodedata

from shared.runs.lane import LANE_PREFIX
from shared.runs.states import Direction


def lane_name(direction: Direction, environment_url: str, data_project: str, flow_name: str) -> str:
    """Return a name that is readable and safe as a segment of a blob's path: "in-asset-major-types-1a2b3c4d".

    One for each data project of an environment; for each flow if that is not known from the settings.
    """
    # F&O compares names regardless of case. The first word keeps a flow apart from a data project of the same name.
    kind, name = ("project", data_project) if data_project else ("flow", flow_name)
    key = "\n".join((kind, environment_url, name.casefold()))
    digest = hashlib.sha256(key.encode()).hexdigest()[:8]
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:40].strip("-")
    return LANE_PREFIX[direction] + "-".join(part for part in (slug, digest) if part)
