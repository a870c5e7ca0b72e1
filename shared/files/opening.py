"""Opening the store that a configuration names. Loads the library: import it where files are needed."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from obstore.store import LocalStore, S3Store

from shared.files.config import FilesConfig
from shared.files.links import Links
from shared.files.store import ObjectFiles

RETRIES: Final = 3
RETRY_TIMEOUT: Final = timedelta(seconds=20)


def open_links(config: FilesConfig, now: Callable[[], int]) -> Links | None:
    """What signs links to a folder's files; None for a bucket, which has signatures of its own."""
    return Links(config.link_key, now, config.public_url) if config.folder else None


def open_files(config: FilesConfig, now: Callable[[], int]) -> ObjectFiles:
    """The store. Nothing is asked of it yet, so it may be down. `now` is in seconds since the epoch."""
    if config.folder:
        folder = Path(config.folder)
        store = LocalStore(folder, mkdir=True)
        return ObjectFiles(
            store,
            config.bucket,
            config.limit,
            concurrency=config.concurrency,
            links=open_links(config, now),
            folder=folder,
        )
    bucket = S3Store(
        config.bucket,
        endpoint=config.endpoint,
        access_key_id=config.access_key,
        secret_access_key=config.secret_key,
        region=config.region,
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": config.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            # Of silence. There is no limit for all of a large file: a slow reader takes its time.
            "read_timeout": timedelta(seconds=30),
            "timeout": timedelta(days=1),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
    )
    return ObjectFiles(bucket, config.bucket, config.limit, concurrency=config.concurrency)
