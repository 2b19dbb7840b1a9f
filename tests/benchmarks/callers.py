"""``python -m tests.benchmarks.callers CALLERS SECONDS URL BODY``: callers at once, each calling again and again.

Each keeps its connection. Prints as JSON how long each answer took (milliseconds), how many a second came, and the
statuses.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence

import aiohttp


async def call(callers: int, seconds: float, url: str, body: str) -> dict[str, object]:
    """Let them call for so long, and return what came of it."""
    took_ms: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.perf_counter()

    async def one(session: aiohttp.ClientSession) -> None:
        while (now := time.perf_counter()) < began + seconds:
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                await answer.read()
                statuses[answer.status] += 1
            took_ms.append((time.perf_counter() - now) * 1000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=callers)) as session:
        await asyncio.gather(*(one(session) for _ in range(callers)))
    a_second = len(took_ms) / (time.perf_counter() - began)
    return {"took_ms": took_ms, "a_second": a_second, "statuses": {str(code): n for code, n in statuses.items()}}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    callers, seconds, url, body = arguments
    result = asyncio.run(call(int(callers), float(seconds), url, body))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
