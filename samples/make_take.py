"""Makes `take.wav`, the sample that `make demo` sends: six seconds of plucked strings, 1 MB.

Karplus-Strong: noise in a delay line of one period, averaged as it goes round. Always the same
bytes. Run it as `python samples/make_take.py`.
"""

import array
import random
import wave
from pathlib import Path

RATE = 44_100
SECONDS = 6
#: Pitch in Hz, start in seconds, place between left (0) and right (1).
NOTES = [
    (146.83, 0.0, 0.5),
    (293.66, 0.25, 0.3),
    (369.99, 0.5, 0.7),
    (440.00, 0.75, 0.4),
    (587.33, 1.0, 0.6),
    (440.00, 1.5, 0.3),
    (369.99, 1.75, 0.7),
    (196.00, 2.25, 0.5),
    (392.00, 2.5, 0.3),
    (493.88, 2.75, 0.7),
    (587.33, 3.0, 0.5),
    (110.00, 3.75, 0.5),
    (277.18, 4.0, 0.3),
    (329.63, 4.25, 0.7),
    (146.83, 4.75, 0.5),
]
LOUDNESS = 9_000


def pluck(pitch: float, frames: int, chance: random.Random) -> list[float]:
    """`frames` samples between -1 and 1 of a string of this pitch."""
    line = [chance.uniform(-1, 1) for _ in range(round(RATE / pitch))]
    sound = []
    for index in range(frames):
        place = index % len(line)
        sound.append(line[place])
        line[place] = 0.4985 * (line[place] + line[(place + 1) % len(line)])
    return sound


def main() -> None:
    """Writes the file beside this one."""
    chance = random.Random(1)
    mix = [0.0] * (2 * RATE * SECONDS)
    for pitch, start, place in NOTES:
        first = round(start * RATE)
        for index, sample in enumerate(pluck(pitch, RATE * SECONDS - first, chance)):
            mix[2 * (first + index)] += (1 - place) * sample
            mix[2 * (first + index) + 1] += place * sample
    fade = RATE // 2
    for index in range(fade):
        for channel in (1, 2):
            mix[-2 * index - channel] *= index / fade
    with wave.open(str(Path(__file__).with_name("take.wav")), "wb") as take:
        take.setnchannels(2)
        take.setsampwidth(2)
        take.setframerate(RATE)
        samples = (max(-32_768, min(32_767, round(LOUDNESS * value))) for value in mix)
        take.writeframes(array.array("h", samples).tobytes())


if __name__ == "__main__":
    main()
