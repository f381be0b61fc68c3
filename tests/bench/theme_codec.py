"""The theme "codec": ratio and speed of lossless codecs, frame by frame.

Our wave codec on every kind of vectors this machine has, beside zstd, zlib,
xz, shuffled zstd and JPEG-LS, all in one process and in turn; every first
round trip is compared.  Speeds are raw MB a second of CPU.
"""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def run(corpus, top, seconds):
    """Frames of the images below corpus, then the table."""
    frames = top / "frames"
    got = subprocess.run([sys.executable, str(HERE / "frames.py"),
                          str(frames), str(corpus)],
                         capture_output=True, text=True, check=True)
    print(f"{got.stdout.strip()} different frames, "
          f"{frames.stat().st_size / 1e6:.1f} MB; CPU of one core\n")
    tool = HERE.parent.parent / "build/release/bin/bench_codec"
    subprocess.run([str(tool), str(frames), str(seconds)], check=True)
