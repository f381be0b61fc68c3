#!/usr/bin/python3
"""Each act of a person leaves a row that says who, when, what and why, and the
chain of rows holds over a restart and a rebuild (21 CFR 11.10(e))."""
import json
import pathlib
import sys
import tempfile

import e2e


def main():
    """Release, tag, retire; then look them up."""
    with tempfile.TemporaryDirectory(prefix="psc-audit-") as tmp:
        top = pathlib.Path(tmp)
        node = e2e.single(top, "north")
        try:
            asset = e2e.release(node, top / "a")
            node.cli("tag", asset, "qc=passed")
            node.cli("retire", asset, "--reason", "motion")
            rows = node.rows("audit", "show")
            assert [r["no"] for r in rows] == list(range(1, len(rows) + 1))
            acts = {r["act"]: r for r in rows}
            for act, why in (("quarantine.release", "synthetic"),
                             ("tag.add", None), ("asset.retire", "motion")):
                row = acts[act]
                assert row["actor"].endswith("@north"), row
                assert row["reason"] == why, row
                assert asset in row["object"], row
                assert row["time"].startswith("20"), row
            mine = node.rows("audit", "show", "--asset", asset[:10])
            assert len(mine) == 3 and all(asset in r["object"] for r in mine)
            late = node.rows("audit", "show", "--after", str(len(rows) - 1))
            assert [r["no"] for r in late] == [len(rows)]
            err = e2e.error_of(node.cli("audit", "show", "--asset",
                                        "aaaaaaaaaaaa", "--json",
                                        check=False))
            assert "asset" in err["cause"], err
            whole = node.json("audit", "verify")
            assert whole["whole"] and whole["rows"] >= len(rows), whole
            assert node.cli("audit", "show", "--after", "x",
                            check=False).returncode == 2
            text = json.dumps(rows)
            assert "P-SYNTH-77" not in text and "Nachname" not in text
            node.stop()
            node.cli("rebuild")
            node.start()
            again = node.rows("audit", "show")
            assert again[:len(rows)] == rows
            assert node.json("audit", "verify")["rows"] >= len(rows)
        finally:
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
