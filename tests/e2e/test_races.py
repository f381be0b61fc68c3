#!/usr/bin/python3
"""Two hands at once: one image from several senders at the same moment is
held once; a series that two senders bring is one series at release; an item
is released once; what was rejected can be sent again; silent connections do
not keep a sender out.
"""
import concurrent.futures
import json
import pathlib
import socket
import sys
import tempfile
import time

import e2e
from nodes import storescu


def imported(node, folder):
    """The rows of an import, the summary last."""
    return node.rows("import", folder, "--share", e2e.SHARE, "--compartment",
                     "images")


def held(node):
    """Held items by id."""
    return {i["id"]: i for i in node.rows("quarantine", "list")}


def test_one_image_from_many_hands_is_held_once(node, top):
    """Six importers and senders of one series: each image counts once."""
    files = e2e.make_series(top / "same", 12, seed=1)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: imported(node, top / "same"), range(6)))
    items = list(held(node).values())
    assert [i["instances"] for i in items] == [len(files)], items
    assert items[0]["findings"] == [], items


def test_same_files_again_are_duplicates_even_with_two_versions(node, top):
    """Two files of one UID: both are kept, neither a third time."""
    files = e2e.make_series(top / "two", 1, seed=2)
    other = bytearray(files[0].read_bytes())
    other[-2] ^= 1
    (top / "two" / "other.dcm").write_bytes(other)
    imported(node, top / "two")
    before = {k: i["instances"] for k, i in held(node).items()}
    rows = imported(node, top / "two")
    assert rows[-1]["summary"]["duplicate"] == 2, rows
    assert before == {k: i["instances"] for k, i in held(node).items()}


def test_an_item_is_released_once(node, _top):
    """Two releases of one item at the same moment: one wins."""
    item = next(iter(held(node)))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(
            lambda _: node.cli("quarantine", "release", item, "--reason", "x",
                               "--json", check=False), range(4)))
    assert sorted(d.returncode for d in done) == [0, 1, 1, 1], done
    asset = json.loads(next(d for d in done if d.returncode == 0).stdout)
    assert len(node.json("show", asset["asset"])["versions"]) == 1


def test_a_series_of_two_senders_is_one_series(node, top):
    """Half by network, half from disc: the version after the second release
    has all images."""
    files = e2e.make_series(top / "half", 6, seed=3)
    done = storescu(node.port("dicom"), "SCANNER1", files[:3])
    assert done.returncode == 0, done.stdout + done.stderr
    before = set(held(node))
    for path in files[:3]:
        path.unlink()
    imported(node, top / "half")
    new = sorted(set(held(node)) - before)
    assert len(new) == 1, new
    first = sorted(before)[-1]
    one = node.json("quarantine", "release", first)
    two = node.json("quarantine", "release", new[0])
    assert one["asset"] == two["asset"], (one, two)
    show = node.json("show", two["asset"])
    assert [v["members"] for v in show["versions"]] in ([3, 6], [6, 3]), show


def test_what_was_rejected_can_be_sent_again(node, top):
    """A rejection by mistake is not for ever."""
    e2e.make_series(top / "rej", 2, seed=4)
    before = set(held(node))
    imported(node, top / "rej")
    item = (set(held(node)) - before).pop()
    node.cli("quarantine", "reject", item, "--reason", "by mistake")
    rows = imported(node, top / "rej")
    assert rows[-1]["summary"]["stored"] == 2, rows
    again = (set(held(node)) - before).pop()
    assert again != item
    assert held(node)[again]["findings"] == []
    node.cli("quarantine", "release", again)


def test_a_file_and_its_c_store_are_two_originals(node, top):
    """C-STORE carries a data set without its file's meta header (PS3.7
    9.1.1, PS3.10 7.1): the receiver writes a new one, so what was imported
    comes by C-STORE with other bytes.  Neither original is dropped: the
    second is held as a conflict; each way again brings nothing; the release
    has each image once."""
    files = e2e.make_series(top / "both", 4, seed=6)
    before = set(held(node))
    imported(node, top / "both")
    for _ in range(2):
        done = storescu(node.port("dicom"), "SCANNER1", files)
        assert done.returncode == 0, done.stdout + done.stderr
        assert imported(node, top / "both")[-1]["summary"]["duplicate"] == 4
    items = {held(node)[i]["calling_ae"]: held(node)[i]
             for i in set(held(node)) - before}
    assert len(items) == 2, items
    assert [i["instances"] for i in items.values()] == [4, 4], items
    assert items["IMPORT"]["findings"] == []
    assert [f["kind"] for f in items["SCANNER1"]["findings"]] == [
        "same-uid-other-bytes"], items
    assert items["IMPORT"]["bytes"] == sum(f.stat().st_size for f in files)
    for ae in ("IMPORT", "SCANNER1"):
        said = node.json("quarantine", "release", items[ae]["id"],
                         "--reason", "the same images")
    show = node.json("show", said["asset"])
    assert [v["members"] for v in show["versions"]] == [4, 4], show


def test_silent_connections_do_not_keep_a_sender_out(node, top):
    """More silent connections than slots: a sender gets in all the same."""
    files = e2e.make_series(top / "late", 1, seed=5)
    port = node.port("dicom")
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    time.sleep(0.3)
    done = storescu(port, "SCANNER1", files)
    for sock in idle:
        sock.close()
    assert done.returncode == 0, done.stdout + done.stderr


def main():
    """All of it on one node."""
    with tempfile.TemporaryDirectory(prefix="psc-races-") as name:
        top = pathlib.Path(name)
        node = e2e.single(top, "north", limits__associations="2",
                          limits__associations_address="2")
        try:
            test_one_image_from_many_hands_is_held_once(node, top)
            test_same_files_again_are_duplicates_even_with_two_versions(
                node, top)
            test_an_item_is_released_once(node, top)
            test_a_series_of_two_senders_is_one_series(node, top)
            test_what_was_rejected_can_be_sent_again(node, top)
            test_a_file_and_its_c_store_are_two_originals(node, top)
            test_silent_connections_do_not_keep_a_sender_out(node, top)
            assert node.json("verify", "--deep")["bad"] == []
        finally:
            node.stop()
        assert node.proc.returncode == 0, node.log_tail()
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
