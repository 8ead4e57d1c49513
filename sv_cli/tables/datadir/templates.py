"""Tiny valid data directories to start from, one of each kind; see `data_templates/README.md`."""

import shutil
from pathlib import Path

from sv_cli.atomic import atomic_path
from sv_cli.errors import TableError, name_some
from sv_cli.tables.datadir.directory import DataDir

# Next to this package in a checkout, inside it when installed.
_ROOTS = tuple(Path(__file__).parents[depth] / "data_templates" for depth in (2, 3))


def template_folder() -> Path:
    """Return the folder of the templates.

    Raises
    ------
    TableError
        When the installation lacks it.
    """
    for root in _ROOTS:
        if (root / "README.md").is_file():
            return root
    raise TableError("this installation has no `data_templates`", hint="install svtool again")


def template_names() -> list[str]:
    """Return the names of the templates, sorted."""
    return sorted(path.parent.name for path in template_folder().glob("*/utt2spk"))


def copy_template(name: str, out: Path) -> DataDir:
    """Copy a template with its audio; wav.scp then names the copies by their whole path.

    Raises
    ------
    TableError
        When there is no such template; the message names those there are.
    """
    if name not in template_names():
        raise TableError(f"no template `{name}`; there are {name_some(template_names())}")
    folder = template_folder() / name
    data = DataDir.load(folder, extra=True)
    tables = data.tables()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in tables:
            with atomic_path(out / path.relative_to(folder)) as temporary:
                shutil.copyfile(path, temporary)
    audio = (out / "audio").absolute()
    data.wav = {key: str(audio / Path(rx).name) for key, rx in data.wav.items()}
    data.write(out, replace=True)
    return data
