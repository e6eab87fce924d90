"""The generated wire code is what the .proto files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDERS = (Path("controller/routing/proto"), Path("controller/routing/envoy/proto"))


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    protos = [
        str(path.relative_to(ROOT)) for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.proto"))
    ]
    outputs = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]

    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *protos], cwd=ROOT, check=True
    )

    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    assert len(made) == 2 * len(protos)
    assert made == {path: (ROOT / path).read_text() for path in made}
