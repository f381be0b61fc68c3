"""A small real proxy on loopback: HTTP CONNECT and SOCKS5."""
import asyncio
import base64
import ipaddress
import struct
import threading


class Proxy:
    """kind: http or socks5. refuse: answer every request with a no.
    login: user:password that is asked for."""

    def __init__(self, kind, refuse=False, login=None):
        self.login = login
        self.kind = kind
        self.refuse = refuse
        self.asked = []     # (host, port) of each request
        self.bytes = 0      # through its tunnels
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self._up.wait(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.run_forever()

    async def _serve(self):
        server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()

    async def _client(self, reader, writer):
        try:
            ask = self._http if self.kind == "http" else self._socks
            host, port, yes, no = await ask(reader, writer)
            self.asked.append((host, port))
            if self.refuse:
                writer.write(no)
                await writer.drain()
                return
            there = await asyncio.open_connection(host, port)
            writer.write(yes)
            await asyncio.gather(self._way(reader, there[1]),
                                 self._way(there[0], writer))
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _http(self, reader, writer):
        """RFC 9110 section 9.3.6."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        verb, where, version = head.splitlines()[0].split(" ")
        host, port = where.rsplit(":", 1)
        if verb != "CONNECT" or version != "HTTP/1.1" or \
                f"Host: {where}" not in head:
            raise ValueError(head)
        if self.login:
            given = base64.b64encode(self.login.encode()).decode()
            if f"\r\nProxy-Authorization: Basic {given}\r\n" not in head:
                writer.write(b"HTTP/1.1 407 no\r\n\r\n")
                await writer.drain()
                raise ValueError("password")
        return (host.strip("[]"), int(port), b"HTTP/1.1 200 go\r\n\r\n",
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async def _socks(self, reader, writer):
        """RFC 1928."""
        version, n = await reader.readexactly(2)
        methods = await reader.readexactly(n)
        method = 2 if self.login else 0
        if version != 5 or method not in methods:
            writer.write(b"\5\xff")
            await writer.drain()
            raise ValueError("greeting")
        writer.write(bytes([5, method]))
        if self.login:
            await self._socks_login(reader, writer)
        version, command, _, kind = await reader.readexactly(4)
        if version != 5 or command != 1:
            raise ValueError("request")
        if kind == 3:
            n = (await reader.readexactly(1))[0]
            host = (await reader.readexactly(n)).decode("ascii")
        else:
            raw = await reader.readexactly(4 if kind == 1 else 16)
            host = str(ipaddress.ip_address(raw))
        port = struct.unpack(">H", await reader.readexactly(2))[0]
        tail = b"\0\1\0\0\0\0\0\0"
        return host, port, b"\5\0" + tail, b"\5\2" + tail

    async def _socks_login(self, reader, writer):
        """RFC 1929."""
        parts = []
        assert await reader.readexactly(1) == b"\1"
        for _ in range(2):
            n = (await reader.readexactly(1))[0]
            parts.append((await reader.readexactly(n)).decode())
        good = ":".join(parts) == self.login
        writer.write(b"\1\0" if good else b"\1\1")
        await writer.drain()
        if not good:
            raise ValueError("password")

    async def _way(self, reader, writer):
        while True:
            data = await reader.read(65536)
            if not data:
                break
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()
