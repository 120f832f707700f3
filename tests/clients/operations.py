"""Whether each client has every operation: `operations.py CONTRACT FOLDER`."""

import json
import re
import sys
from pathlib import Path

# Where a client has its operations, and how each is told there; Python has a file for each.
CLIENTS = {
    "typescript": ("schema.d.ts", r'operations\["(\w+)"\]'),
    "python": ("headwater_client/api/*/*.py", None),
    "rust": ("src/lib.rs", r"pub fn (\w+)\("),
    "swift": ("Sources/**/APIs/*.swift", r"func (\w+)\("),
    "kotlin": ("src/main/**/apis/*.kt", r"fun (\w+)\("),
}

contract, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
wanted = {operation["operationId"] for path in contract["paths"].values() for operation in path.values()}


def snake(name: str) -> str:
    return re.sub("([A-Z])", lambda letter: "_" + letter[1].lower(), name)


lacking = False
for client, (files, pattern) in CLIENTS.items():
    paths = list((folder / client).glob(files))
    found = {path.stem for path in paths}
    if pattern:
        found = {name for path in paths for name in re.findall(pattern, path.read_text())}
    missing = sorted(name for name in wanted if not {name, snake(name)} & found)
    if missing:
        print(f"{client} lacks {', '.join(missing)}")
        lacking = True
sys.exit(lacking)
