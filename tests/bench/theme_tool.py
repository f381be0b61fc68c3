"""./run bench gc, ./run bench scale: benchmarks that are programs of their
own (bench_gc.c, bench_scale.c), each in a folder that is removed."""
import pathlib
import subprocess

BIN = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin"


def run(theme, top, *args):
    """theme: gc or scale; args: what the program takes after its folder."""
    subprocess.run([BIN / f"bench_{theme}", top / theme, *args], check=True)
