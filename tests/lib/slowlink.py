"""A slow, long link on loopback: bytes of each direction leave at a rate and
arrive after a delay; what does not fit waits in the sender's TCP."""
import asyncio
import socket
import threading

PIECE = 4096
BUFFER = 16 * 1024  # of the kernel on the way in; it doubles it
SEGMENT = 1400      # as on a real wire; loopback's are larger than BUFFER


def narrow(sock):
    """Little waits in this socket, in segments of a real wire."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)


class SlowLink:
    """Listens on a port of its own and connects to another."""

    def __init__(self, target, bits_per_s, delay_s):
        self.target = target
        self.rate = bits_per_s / 8
        self.delay = delay_s
        self.bytes = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._up.wait(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_forever()

    async def _serve(self):
        sock = socket.socket()
        narrow(sock)
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await asyncio.start_server(self._both, sock=sock, limit=PIECE)
        self._up.set()

    async def _both(self, reader, writer):
        out = socket.socket()
        narrow(out)
        out.setblocking(False)
        try:
            await self._loop.sock_connect(out, ("127.0.0.1", self.target))
        except OSError:
            writer.close()
            return
        there = await asyncio.open_connection(sock=out, limit=PIECE)
        await asyncio.gather(self._way(reader, there[1]),
                             self._way(there[0], writer))

    async def _way(self, reader, writer):
        """One direction: the wire is busy for the length of each piece."""
        queue = asyncio.Queue()
        late = asyncio.ensure_future(self._arrive(queue, writer))
        free = 0.0
        try:
            while data := await reader.read(PIECE):
                now = self._loop.time()
                free = max(now, free) + len(data) / self.rate
                queue.put_nowait((free + self.delay, data))
                self.bytes += len(data)
                await asyncio.sleep(max(0.0, free - now))
        except OSError:
            pass
        queue.put_nowait((0.0, b""))
        await late

    async def _arrive(self, queue, writer):
        try:
            while True:
                at, data = await queue.get()
                if not data:
                    break
                await asyncio.sleep(max(0.0, at - self._loop.time()))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def stop(self):
        """No connection passes any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
