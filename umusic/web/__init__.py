"""All that knows HTTP. No SQL, no paths of files, no ffmpeg."""
