"""``python -m local_cloud.functions_host.index FOLDER`` prints what Azure would find there: functions and bindings.

One JSON object, ``{function: [bindings]}``, in the last line of stdout. Ends with 2 and the runtime's words on stderr
when the app cannot be indexed. Needs neither settings nor storage.
"""

import json
import sys
from pathlib import Path

from local_cloud.functions_host.runtime import AppUnusable, Worker


def main(folder: Path) -> int:
    """Index and print; return the exit code."""
    try:
        indexed = Worker(folder.resolve()).start()
    except AppUnusable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = {function.name: [json.loads(binding) for binding in function.raw_bindings] for function in indexed}
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
