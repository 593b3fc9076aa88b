"""A user and a record as the API tells of them, for the descriptions."""

from typing import Any

USER = "32ed8ee3-a2b5-4a6d-8695-4a82983f4b97"
RECORD = "1930b33b-ed06-4f9e-816c-f614a0d13964"
LINK = f"http://localhost:8000/record?id={RECORD}&user={USER}"
CURSOR = "AAZEEJVpN5gZMLM77QZPnoFs9hSg0Tlk"

_TOKEN = "5d2e26f2-cc11-45e3-af49-d4679cfe3daa"

NEW_TOKEN: dict[str, Any] = {
    "id": USER,
    "user_id": USER,
    "name": "Egor Andreev",
    "token": _TOKEN,
    "access_token": _TOKEN,
    "created_at": "2026-11-21T09:21:38.918095Z",
}
ACCOUNT: dict[str, Any] = {
    "id": USER,
    "name": "Egor Andreev",
    "created_at": "2026-11-21T09:21:38.918095Z",
    "records": 1,
    "bytes": 90517,
    "seconds": 6.0,
    "quota": None,
}
METADATA: dict[str, Any] = {
    "id": RECORD,
    "user": USER,
    "uploader": USER,
    "name": "take.wav",
    "link": LINK,
    "created_at": "2026-11-21T09:21:39.008438Z",
    "duration": 6.0,
    "sample_rate": 44100,
    "channels": 2,
    "bitrate": 120689,
    "samples": 264600,
    "size": 90517,
    "sha256": "ce4ac13059fba81516df47d7b3f85a416d96d446296e056f9b39391ba4eea41b",
    "source": {
        "format": "s16le",
        "sample_rate": 44100,
        "channels": 2,
        "samples": 264600,
        "size": 1058444,
        "sha256": "856066cba0e9e712ffbef4e9c1782b60f62e33eb297b8c758ee0d91b6f41dba7",
    },
}
INFO = {name: value for name, value in METADATA.items() if name != "uploader"}
PAGE: dict[str, Any] = {"items": [METADATA], "next": CURSOR}
