#!/usr/bin/python3
"""A series whose content table is too large for one job of the writer: it is
complete once all its images are found, and a kill -9 on the way costs
nothing."""
import pathlib
import sys
import tempfile
import time

import e2e
from nodes import until

IMAGES = 1700


def found(node):
    """Images that the catalog finds."""
    return node.json("find", "level=image", "--count")["count"]


def main():
    """Import, release, kill while the images come, start again."""
    with tempfile.TemporaryDirectory(prefix="psc-large-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "centre1")
        try:
            files = e2e.make_series(top / "in", IMAGES, size=4)
            node.cli("import", top / "in", "--share", e2e.SHARE,
                     "--compartment", "images", "--json", timeout=120)
            item, = node.rows("quarantine", "list")
            assert item["instances"] == len(files)
            node.cli("quarantine", "release", item["id"], "--reason", "test",
                     timeout=120)
            until("the first images", 20, lambda: found(node) > 0)
            node.kill()
            node.start()
            until("all images", 60, lambda: found(node) == IMAGES)
            series, = node.rows("find", "level=series")
            until("complete", 20, lambda: node.json(
                "show", series["id"])["versions"][0]["complete"])
            time.sleep(1)
            assert found(node) == IMAGES
            assert not node.json("verify", "--deep")["bad"]
        finally:
            node.stop()
    print(f"{IMAGES} images of one series found after a kill")


if __name__ == "__main__":
    sys.exit(main())
