"""All that knows sound: reading WAV, encoding MP3. No HTTP, no database."""
