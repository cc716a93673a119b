"""A loopback receiver that is never the bottleneck: counts, waits, answers 200.

`GET /stats` answers what has arrived since `GET /reset?delay=0.05` as JSON, `GET /arrivals`
when each did. Prints its port once it listens.
"""

import asyncio
import json
import re
import time
from urllib.parse import parse_qs, urlsplit

LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
arrivals = []  # moments
delay = 0.0


class Receiver(asyncio.Protocol):
    """A connection; without asyncio's streams, which cost more than the sender may."""

    def __init__(self):
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.data, 0, end + 2)
            end += 4 + (int(length[1]) if length else 0)
            if len(self.data) < end:
                return
            target = self.data.split(b" ", 2)[1]
            self.data = self.data[end:]
            self.answer(target.decode("latin-1"))

    def answer(self, target):
        global delay
        path = urlsplit(target)
        if path.path == "/reset":
            delay = float(parse_qs(path.query)["delay"][0])
            arrivals.clear()
            self.write(b"{}")
        elif path.path == "/stats":
            self.write(
                json.dumps(
                    {
                        "count": len(arrivals),
                        "first": arrivals[0] if arrivals else 0.0,
                        "last": arrivals[-1] if arrivals else 0.0,
                    }
                ).encode()
            )
        elif path.path == "/arrivals":
            self.write(json.dumps(arrivals).encode())
        else:
            arrivals.append(time.time())
            if delay:
                loop = asyncio.get_running_loop()
                loop.call_later(delay, self.write, b"{}")
            else:
                self.write(b"{}")

    def write(self, body):
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
