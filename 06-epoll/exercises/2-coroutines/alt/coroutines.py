#!/usr/bin/env python3
"""6-2 in a language that has coroutines."""
import asyncio
import re
import sys


async def converse(reader, writer):
    try:
        while (line := await reader.readline()).endswith(b"\n"):
            if count := re.fullmatch(rb"count ([1-9])\n", line):
                for i in range(int(count[1])):
                    await asyncio.sleep(0.1)
                    writer.write(b"+%d\n" % (i + 1))
                    await writer.drain()
            else:
                writer.write(b"+" + line)
                await writer.drain()
    except (ConnectionError, ValueError):
        pass
    writer.close()


async def main():
    port = int(sys.argv[sys.argv.index("-p") + 1])
    server = await asyncio.start_server(converse, "127.0.0.1", port, backlog=128)
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
