"""./run bench gc: how long others wait for the writer while space is given
back; see bench_gc.c."""
import os
import pathlib
import subprocess


def run(top):
    """One run in a folder of its own."""
    subprocess.run([str(pathlib.Path(os.environ["PSC_BIN"]) / "bench_gc"),
                    str(top / "gc")], check=True)
