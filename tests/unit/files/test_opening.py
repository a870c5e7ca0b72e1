"""Which store the settings name."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.api.dialects.avtomatika.file_routes import config_hash
from shared.files.config import FilesConfig, files_config
from shared.settings import Settings

S3 = {"s3_endpoint": "http://s3:9000", "s3_access_key": "key", "s3_secret_key": "very-secret"}


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings.from_env(data=tmp_path, **more)


def test_nothing_set_is_no_store(tmp_path: Path) -> None:
    assert files_config(settings(tmp_path)) is None
    assert files_config(settings(tmp_path, task_files=tmp_path / "work")) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", S3)
def test_half_of_s3_is_no_store_and_said_so(
    tmp_path: Path, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    half = {name: value for name, value in S3.items() if name != missing}
    assert files_config(settings(tmp_path, **half)) is None
    assert "S3 is off" in caplog.text
    assert config_hash(settings(tmp_path, **half)) is None


def test_s3_comes_before_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = files_config(settings(tmp_path, **S3, files_dir=tmp_path / "store"))
    assert config is not None
    assert (config.endpoint, config.bucket, config.folder) == ("http://s3:9000", "avtomatika-payloads", "")
    assert "DAYBOOK_FILES_DIR changes nothing" in caplog.text


def test_the_hash_is_the_one_that_workers_tell(tmp_path: Path) -> None:
    # sha256("http://s3:9000|key|avtomatika-payloads"), its first 16 hexadecimal digits
    assert config_hash(settings(tmp_path, **S3)) == "98717b1edc535324"
    assert config_hash(settings(tmp_path)) is None


def test_it_goes_to_another_process_as_json_and_shows_no_secret(tmp_path: Path) -> None:
    for given in (S3, {"files_dir": tmp_path / "store"}):
        config = files_config(settings(tmp_path, **given))
        assert config is not None
        sent = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(config)))
        assert msgspec.convert(sent, FilesConfig) == config
        assert "very-secret" not in repr(config)
        assert repr(config.link_key) not in repr(config) or not config.link_key


def test_the_secrets_are_kept_from_logs_and_may_stand_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    monkeypatch.setenv("DAYBOOK_S3_SECRET_KEY_FILE", str(tmp_path / "secret"))
    found = settings(tmp_path, files_secret="another-secret")
    assert found.s3_secret_key == "from-a-file"
    assert {"from-a-file", "another-secret"} <= set(found.secrets())
    assert "from-a-file" not in repr(found)
    assert "another-secret" not in repr(found)
