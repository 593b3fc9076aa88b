"""Peak resident memory of the server process for an upload of 10 MB and of 1 GB."""

from pathlib import Path

from bench.stack import music, running


def peak(pid: int) -> int:
    """VmHWM in kB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def main() -> None:
    """Prints the figures; each upload gets a server of its own."""
    peaks = []
    for seconds in (57, 5669):
        with running() as stack:
            wav = music(stack.scratch / "take.wav", seconds)
            status, took, _ = stack.upload(stack.nginx, wav)
            assert status == 201
            peaks.append(peak(stack.pid))
            print(
                f"{wav.stat().st_size / 1e6:.0f} MB: {took:.1f} s, peak {peaks[-1] / 1024:.1f} MiB"
            )
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
