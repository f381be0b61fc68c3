#!/usr/bin/python3
"""REST and CLI of a real node: the JSON shapes scripts rely on, who is let in,
hostile requests to every route, and clients that stop reading."""
import hashlib
import http.client
import json
import pathlib
import socket
import sys
import tempfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import e2e  # noqa: E402

ROOT = "/api/v1"
HOSTILE = [b"", b"{", b"[]", b"null", b'{"a":' * 70, b"\xff\xfe", b"\0",
           b'{"name":7,"role":[],"invite":{},"content":null}', b"a: &x [*x]",
           b'{"paths":[1],"share":"s"}', b'{"timeout_ms":1e9}']


class Rest:
    """The TCP side of a node."""

    def __init__(self, node):
        self.port = node.port("rest")
        self.token = (node.home / "rest-token").read_text().strip()

    def ask(self, method, path, body=None, token=True, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        head = dict(headers or {})
        if token:
            head["Authorization"] = f"Bearer {self.token}"
        c.request(method, ROOT + path, body=body, headers=head)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, data

    def open(self, path):
        """A raw socket that has asked and reads nothing yet."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        s.sendall(f"GET {ROOT}{path} HTTP/1.1\r\nHost: x\r\n"
                  f"Authorization: Bearer {self.token}\r\n\r\n".encode())
        return s


def has(row, *keys):
    for key in keys:
        assert key in row, f"{key} is missing in {row}"


def check_shapes(node, top):
    """design: names that scripts rely on."""
    files = e2e.make_series(top / "in", 4)
    rows = node.rows("import", top / "in", "--share", e2e.SHARE,
                     "--compartment", "images")
    for row in rows[:-1]:
        has(row, "path", "state", "asset", "reason")
    has(rows[-1]["summary"], "files", "bytes", "stored", "duplicate",
        "quarantined", "refused", "seconds")
    assert rows[-1]["summary"]["files"] == len(files)
    again = node.rows("import", top / "in", "--share", e2e.SHARE)
    assert again[-1]["summary"]["duplicate"] == len(files), again[-1]
    items = node.rows("quarantine", "list")
    assert len(items) == 1, items
    has(items[0], "id", "state", "received", "calling_ae", "modality",
        "instances", "findings")
    item = node.json("quarantine", "show", items[0]["id"])
    assert item["instances"] == len(files)
    node.cli("quarantine", "release", item["id"], "--reason", "looked at")
    has(node.json("status"), "site", "key", "fingerprint", "version",
        "uptime_s", "store", "shares", "peers", "quarantine", "listen")
    has(node.json("id"), "site", "key", "fingerprint")
    has(node.json("share", "invite", e2e.SHARE, "--role", "reader",
                  "--compartment", "images", "--address", "127.0.0.1:7433"),
        "invite")
    found = node.rows("find", "level=series", "--fields", "Modality,NoSuch")
    has(found[0], "id", "level", "share", "compartment", "version",
        "created", "tags", "Modality", "NoSuch")
    assert found[0]["Modality"] == "MR" and found[0]["NoSuch"] is None
    assert node.json("find", "level=image", "--count") == {"count": 4}
    assert len(node.rows("find", "level=image", "--limit", "3")) == 3
    shown = node.json("show", found[0]["id"][:8], "--history")
    has(shown, "id", "level", "parent", "share", "compartment", "fields",
        "tags", "versions")
    has(shown["versions"][0], "version", "parents", "actor", "site",
        "created", "hash", "sha256", "bytes", "provenance")
    has(node.json("verify", "--deep"), "checked", "bad")
    return found[0]["id"]


def check_get(node, top, series):
    rows = node.rows("get", series, "-o", top / "out")
    assert len(rows) == 4
    for row in rows:
        has(row, "asset", "path", "bytes", "sha256")
        data = pathlib.Path(row["path"]).read_bytes()
        assert len(data) == row["bytes"]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    left = [p for p in (top / "out").rglob("*") if ".part" in p.name]
    assert not left, left
    # A level above stands for what lies below; a level below for itself.
    exam = node.rows("find", "level=exam")[0]["id"]
    image = node.rows("find", "level=image")[0]["id"]
    assert len(node.rows("get", exam, "-o", top / "exam")) == 4
    one = node.rows("get", image, "-o", top / "one")
    assert len(one) == 1 and one[0]["sha256"] in {r["sha256"] for r in rows}
    # One file alone has its SHA-256 in the record once it was exported.
    err = e2e.error_of(node.cli("get", series, "--as", "nifti", "--json",
                                check=False))
    assert "no files" in err["cause"], err


def check_errors(node):
    for args in (("show", "aaaaaaaaaaaa"), ("find", "level="),
                 ("share", "show", "nothing"), ("peer", "add", "x:1",
                                                "--key", "psk1x"),
                 ("quarantine", "release", "q99"), ("get", "zzzzzzzz"),
                 ("share", "join", "psi1zz"), ("import", "/nonexistent",
                                               "--share", e2e.SHARE),
                 ("import", "/etc/hostname", "--share", "nothing"),
                 ("workflow", "check", "/dev/null"),
                 ("deid", "lookup", "import", "/nonexistent")):
        e2e.error_of(node.cli(*args, "--json", check=False))
    for args in (("find",), ("nosuch",), ("find", "a", "b"),
                 ("status", "--odd")):
        done = node.cli(*args, check=False)
        assert done.returncode == 2, (args, done)


def check_admission(rest):
    for path in ("/status", "/openapi.json", "/nosuch"):
        status, body = rest.ask("GET", path, token=False)
        assert status == 401, (path, status)
        assert rest.token.encode() not in body
    bad = rest.token[:-1] + ("0" if rest.token[-1] != "0" else "1")
    status, _ = rest.ask("GET", "/status", token=False,
                         headers={"Authorization": f"Bearer {bad}"})
    assert status == 401
    for path in ("/imports", "/deid/lookup", "/quarantine/x/release"):
        status, _ = rest.ask("POST", path, b'{"path":"/etc/passwd"}')
        assert status == 403, (path, status)


def check_trailer(rest, series):
    """The bytes are followed by their SHA-256."""
    s = rest.open(f"/assets/{series}/files/0")
    data = b""
    while b"\r\n0\r\n" not in data or not data.endswith(b"\r\n\r\n"):
        part = s.recv(65536)
        assert part, "closed early"
        data += part
    s.close()
    tail = data[data.rindex(b"\r\n0\r\n"):].decode()
    body, raw = b"", data[data.index(b"\r\n\r\n") + 4:]
    while True:
        size, raw = raw.split(b"\r\n", 1)
        if int(size, 16) == 0:
            break
        body += raw[:int(size, 16)]
        raw = raw[int(size, 16) + 2:]
    assert f"X-Sha256: {hashlib.sha256(body).hexdigest()}" in tail, tail


def check_events(rest):
    s = rest.open("/events?follow=1")
    data = b""
    while b'"type":"release"' not in data:
        part = s.recv(65536)
        assert part, data
        data += part
    s.close()
    c = socket.create_connection(("127.0.0.1", rest.port), timeout=30)
    c.sendall(f"GET {ROOT}/events HTTP/1.1\r\nHost: x\r\n"
              f"Accept: text/event-stream\r\n"
              f"Authorization: Bearer {rest.token}\r\n\r\n".encode())
    data = b""
    while b"data: {" not in data:
        data += c.recv(65536)
    assert b"text/event-stream" in data
    c.close()


def check_hostile(node, rest):
    """No request to any route brings an answer of ours that is not JSON, or
    the node down."""
    _, doc = rest.ask("GET", "/openapi.json")
    segments = ["x", "%00", "%ff", "..%2f..", "a" * 300, "-1",
                "9" * 30, urllib.parse.quote("' or 1=1")]
    args = "?query=" + "(" * 200 + "&limit=-1&after=x&as=%00&fields=" + \
        "a," * 80
    asked = 0
    for path, methods in json.loads(doc)["paths"].items():
        for seg in segments if "{" in path else ["x"]:
            url = path
            while "{" in url:
                url = url[:url.index("{")] + seg + url[url.index("}") + 1:]
            for method in methods:
                for body in HOSTILE if method != "get" else [None]:
                    if path in ("/verify", "/sync/wait") and body == b"":
                        continue  # these are right requests, and long
                    status, data = rest.ask(method.upper(), url, body)
                    asked += 1
                    assert 200 <= status < 500 or status == 503, \
                        (method, url, body, status, data[:200])
                    if status >= 400:
                        has(json.loads(data), "error", "cause", "next")
            if "get" in methods and path != "/events":
                status, _ = rest.ask("GET", url + args)
                assert status < 500, (url, status)
    assert asked > 300, asked
    assert node.proc.poll() is None, node.log_tail()
    assert node.json("status")["site"] == node.site


def check_stalled(node, rest, series):
    """Clients that ask and never read cost a bounded queue each."""
    stalled = [rest.open(f"/assets/{series}/files/{i % 4}")
               for i in range(16)]
    stalled += [rest.open("/events?follow=1") for _ in range(8)]
    assert node.json("status")["site"] == node.site
    status, _ = rest.ask("GET", "/status")
    assert status == 200
    for s in stalled:
        s.close()


def main():
    with tempfile.TemporaryDirectory(prefix="psc-rest-") as top:
        top = pathlib.Path(top)
        node = e2e.single(top, "centre-a", rest__listen="127.0.0.1:0",
                          peers__listen="127.0.0.1:0")
        try:
            rest = Rest(node)
            series = check_shapes(node, top)
            check_get(node, top, series)
            check_errors(node)
            check_admission(rest)
            check_trailer(rest, series)
            check_events(rest)
            check_stalled(node, rest, series)
            check_hostile(node, rest)
        finally:
            node.stop()
        assert node.proc.returncode == 0, node.log_tail()
    print("ok")


if __name__ == "__main__":
    main()
