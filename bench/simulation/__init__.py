"""umusic as events that follow each other: replicas, their ffmpegs, who sends to them and how.

What decides when a segment is cut is umusic's own (`umusic.audio.segments`); how long things take
is what `bench.costs` has measured.
"""
