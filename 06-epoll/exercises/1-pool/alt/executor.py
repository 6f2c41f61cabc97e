#!/usr/bin/env python3
"""6-1 with asyncio: a coroutine for each client, and run_in_executor for work that waits."""
import asyncio
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(4)


async def serve(reader, writer):
    loop = asyncio.get_running_loop()
    try:
        while (line := await reader.readline()).endswith(b"\n"):
            if (work := re.fullmatch(rb"work (\d{1,3})\n", line)) and int(work[1]) <= 400:
                await loop.run_in_executor(pool, time.sleep, int(work[1]) / 1000)
            writer.write(b"+" + line)
            await writer.drain()
    except (ConnectionError, ValueError):
        pass
    writer.close()


async def main():
    port = int(sys.argv[sys.argv.index("-p") + 1])
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=128)
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
