"""Which store the settings name. The library that opens it is not loaded for that."""

import logging
from typing import Final

import msgspec
from msgspec.structs import replace

from shared.files.links import signing_key
from shared.settings import Settings

log = logging.getLogger(__name__)

FOLDER_BUCKET: Final = "files"
"""What stands in URIs of files that are in a folder."""


class FilesConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where files are, in a form that can be handed to another process. It holds secrets."""

    bucket: str
    limit: int
    concurrency: int
    work: str
    """The folder of handlers' copies."""
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    region: str = ""
    folder: str = ""
    link_key: bytes = b""
    public_url: str = ""

    def __repr__(self) -> str:
        return f"FilesConfig({self.endpoint or self.folder!r}, {self.bucket!r})"


def files_config(settings: Settings) -> FilesConfig | None:
    """The store of the settings, None when they name none. The key that signs links is made if need be."""
    work = str((settings.task_files or settings.data / "task-files").absolute())
    config = FilesConfig(settings.s3_bucket, settings.files_max_bytes, settings.s3_concurrency, work)
    given = (settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key)
    if all(given):
        if settings.files_dir is not None:
            log.warning("files are kept in S3: DAYBOOK_FILES_DIR changes nothing")
        return replace(
            config,
            endpoint=settings.s3_endpoint,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
            region=settings.s3_region,
        )
    if any(given):
        log.warning("S3 is off: it takes S3_ENDPOINT_URL, S3_ACCESS_KEY and S3_SECRET_KEY, all three")
    if settings.files_dir is None:
        return None
    return replace(
        config,
        bucket=FOLDER_BUCKET,
        folder=str(settings.files_dir.absolute()),
        link_key=signing_key(settings.files_secret, settings.data / "files" / "links.key"),
        public_url=settings.public_url,
    )
