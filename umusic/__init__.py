"""umusic: send a WAV of any size, get back a link to an MP3."""

__version__ = "0.1.0"
