"""Secrets are made once, whole, and closed to others."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from popolni.core.errors import UserError
from popolni.embedded.secrets import DATA_KEYS, FILE, NAMES, SECRET_KEY, load_secrets


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_folder_gets_them_once(tmp_path: Path) -> None:
    made = load_secrets(tmp_path)
    assert sorted(made) == sorted(NAMES)
    assert len(made[SECRET_KEY]) >= 50
    name, _, key = made[DATA_KEYS].partition(":")
    assert name == "1"
    assert len(base64.urlsafe_b64decode(key)) == 32
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert load_secrets(tmp_path) == made


def test_each_folder_has_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    one, other = map(load_secrets, folders)
    assert all(one[name] != other[name] for name in NAMES)


def test_starts_at_the_same_time_agree(tmp_path: Path) -> None:
    for n in range(20):
        folder = tmp_path / str(n)
        folder.mkdir()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(load_secrets, [folder] * 8))
        assert all(secrets == found[0] for secrets in found)
        assert [path.name for path in folder.iterdir()] == [FILE]


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_wins(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = load_secrets(tmp_path)
    monkeypatch.setenv(name, "mine")
    assert load_secrets(tmp_path) == made | {name: "mine"}
    monkeypatch.setenv(name, "")
    assert load_secrets(tmp_path) == made


def test_with_both_variables_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, f"my {name}")
    assert load_secrets(tmp_path) == {name: f"my {name}" for name in NAMES}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", f"{SECRET_KEY}=x\n", f"{SECRET_KEY}=x\n{DATA_KEYS}=\n", "\0"])
def test_a_file_that_is_not_whole_is_refused_and_kept(text: str, tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UserError, match="are not whole: put back a copy"):
        load_secrets(tmp_path)
    assert path.read_text() == text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    load_secrets(tmp_path)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(UserError, match=f"open to other users: chmod 600 {tmp_path / FILE}"):
        load_secrets(tmp_path)


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be used: No such file or directory"):
        load_secrets(tmp_path / "absent")
