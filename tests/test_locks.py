"""The locks are whole, name no address, and agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.lock", "requirements-test.lock"]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def read(lock: str) -> dict[str, list[str]]:
    """Return the hashes of each requirement of a lock."""
    text = (PROJECT / lock).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {HASH.sub("", line).strip(): HASH.findall(line) for line in lines}


@pytest.mark.parametrize("lock", LOCKS)
def test_each_requirement_is_one_version_with_hashes(lock: str) -> None:
    requirements = read(lock)
    assert requirements
    for line, hashes in requirements.items():
        assert re.fullmatch(r"==[^=*]+", str(Requirement(line).specifier)), line
        assert hashes, line


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    assert not re.search(
        r"(?i)https?:|://|--(extra-)?index-url|--find-links|\.(org|com|net)\b", text
    )


def pins(lock: str) -> set[tuple[str, str, str]]:
    """Name, version and one hash each; for which systems is another matter: tests need more."""
    return {
        (Requirement(line).name, str(Requirement(line).specifier), digest)
        for line, hashes in read(lock).items()
        for digest in hashes
    }


def test_the_test_lock_has_all_of_the_other() -> None:
    assert pins("requirements.lock") <= pins("requirements-test.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_locked_as_wanted(lock: str) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    if lock == "requirements-test.lock":
        wanted += project["dependency-groups"]["test"]
    locked = {found.name: found for found in map(Requirement, read(lock))}
    for line in wanted:
        requirement = Requirement(line)
        (pin,) = locked[requirement.name].specifier
        assert requirement.specifier.contains(pin.version), line
