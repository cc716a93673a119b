"""A loopback receiver that is never the bottleneck: counts, waits, answers 200.

`GET /stats` answers what has arrived since `GET /reset?delay=0.05` as JSON. Prints its
port once it listens.
"""

import asyncio
import json
import time
from urllib.parse import parse_qs, urlsplit

stats = {"count": 0, "first": 0.0, "last": 0.0, "connections": 0}
delay = 0.0


async def serve(reader, writer):
    global delay
    is_counted = False
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, *headers = head.decode("latin-1").split("\r\n")
            target = urlsplit(line.split()[1])
            length = 0
            for header in headers:
                name, _colon, value = header.partition(":")
                if name.lower() == "content-length":
                    length = int(value)
            if length:
                await reader.readexactly(length)
            body = b"{}"
            if target.path == "/reset":
                delay = float(parse_qs(target.query)["delay"][0])
                stats.update(count=0, first=0.0, last=0.0, connections=0)
            elif target.path == "/stats":
                body = json.dumps(stats).encode()
            else:
                stats["connections"] += not is_counted
                is_counted = True
                if delay:
                    await asyncio.sleep(delay)
                stats["count"] += 1
                stats["last"] = time.time()
                stats["first"] = stats["first"] or stats["last"]
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
