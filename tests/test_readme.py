"""The README's Python runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    script = tmp_path / "readme.py"
    script.write_text("\n\n".join(blocks))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr, run.returncode) == ("2\n", "", 0)


def test_every_word_of_the_folder_list_is_a_folder() -> None:
    folders = re.findall(r"`([a-z_0-9/]+)/`", README)
    assert folders
    for folder in folders:
        assert (Path(__file__).parent.parent / folder).is_dir(), folder
