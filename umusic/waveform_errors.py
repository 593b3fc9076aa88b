"""The errors of looking at a sound.

A branch of the tree of `umusic.errors`, and of the same kind.
"""

from umusic.errors import NotFound, Unavailable


class RecordDamaged(NotFound):
    """The MP3 of this record is damaged, so there is no picture of its sound."""

    code = "record-damaged"


class WaveformPending(Unavailable):
    """This record is long: its sound is still being looked at. Please ask again in a little
    while."""

    code = "waveform-pending"


class WaveformFailed(Unavailable):
    """The sound of this record could not be looked at. Please try again in a little while."""

    code = "waveform-failed"


class TooManyWaveforms(Unavailable):
    """Too many pictures of sounds are being made at once. Please try again in a little while."""

    code = "too-many-waveforms"
