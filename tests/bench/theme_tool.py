"""./run bench gc, scale, sync: benchmarks that are programs of their own
(bench_gc.c, bench_scale.c, bench_sync.c), each in a folder that is removed."""
import pathlib
import subprocess

BIN = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin"


def run(theme, top, *args):
    """theme: gc, scale or sync; args: what the program takes after its folder."""
    subprocess.run([BIN / f"bench_{theme}", top / theme, *args], check=True)
