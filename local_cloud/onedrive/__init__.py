"""OneDrive for Business on a laptop: a real folder behind the Graph API of files, subscriptions and mail.

`simulator.py` puts it together; `drive.py` is the folder; `api.py` lists the routes. It shares no code with the
product. What it cannot prove: permissions, latency, throttling thresholds, and when SharePoint rewrites a file after an
upload.
"""

from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.simulator import CONTENT, GRAPH, OneDriveSimulator

__all__ = ["CONTENT", "GRAPH", "Knobs", "OneDriveSimulator"]
