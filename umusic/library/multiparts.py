"""Multipart uploads that nobody has completed: obstore cannot list them, botocore can.

All of it blocks and belongs on a thread.
"""

from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from umusic.errors import MediaAway
from umusic.library.s3 import S3Access, StoreFault

#: How long an answer is waited for, and how often it is asked.
_READ_SECONDS = 10
_ATTEMPTS = 2


class Multiparts:
    """Those of one bucket. All methods raise MediaAway if the store fails."""

    def __init__(self, bucket: str, access: S3Access) -> None:
        self._bucket = bucket
        self._client: Any = botocore.session.get_session().create_client(
            "s3",
            region_name=access.region,
            endpoint_url=access.endpoint,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            config=Config(
                connect_timeout=3,
                read_timeout=_READ_SECONDS,
                retries={"total_max_attempts": _ATTEMPTS},
                s3={"addressing_style": "path"},
            ),
        )

    def pages(self, prefix: str) -> Iterator[list[tuple[str, str]]]:
        """Those whose keys begin so: keys and ids."""
        paginator = self._client.get_paginator("list_multipart_uploads")
        try:
            for page in paginator.paginate(Bucket=self._bucket, Prefix=prefix):
                if uploads := page.get("Uploads"):
                    yield [(upload["Key"], upload["UploadId"]) for upload in uploads]
        except (ClientError, BotoCoreError) as exc:
            raise MediaAway from StoreFault(exc)

    def abort(self, key: str, upload: str) -> None:
        """Removes what has come of one. That it is gone is no trouble."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload)
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") != "NoSuchUpload":
                raise MediaAway from StoreFault(exc)
        except BotoCoreError as exc:
            raise MediaAway from StoreFault(exc)
