"""The example directories in `data_templates/` are valid, complete and small."""

from pathlib import Path

import pytest

from sv_cli.audio.info import audio_info
from sv_cli.tables.datadir.directory import DataDir, validate

ROOT = Path(__file__).parents[2] / "data_templates"
NAMES = ("train", "cohort", "eval", "noise", "rirs")


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_valid_and_its_audio_is_there(name: str) -> None:
    assert not validate(ROOT / name)
    for rx in DataDir.load(ROOT / name).wav.values():
        assert audio_info(rx, audio_root=ROOT).sample_rate == 16000


def test_the_trials_name_utterances_of_the_directory() -> None:
    utts = set(DataDir.load(ROOT / "eval").utts)
    rows = [line.split() for line in (ROOT / "eval/trials").read_text().splitlines()]
    assert {row[0] for row in rows} | {row[1] for row in rows} <= utts
    assert {row[2] for row in rows} == {"target", "nontarget"}


def test_the_readme_names_every_table_and_the_whole_is_small() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = [path for path in ROOT.rglob("*") if path.is_file()]
    for path in files:
        if path.parent != ROOT and path.parent.name != "audio":
            assert f"`{path.name}`" in text
    assert sum(path.stat().st_size for path in files) < 300_000
