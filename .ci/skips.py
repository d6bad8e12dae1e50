"""Fail on a skipped test that .ci/skips does not name."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

allowed = {
    line.split("#")[0].strip()
    for line in Path(__file__).with_name("skips").read_text().splitlines()
    if line.split("#")[0].strip()
}
skipped = {
    f"{case.get('classname')}.{case.get('name')}": case.find("skipped").get("message", "")
    for case in ET.parse(sys.argv[1]).iter("testcase")
    if case.find("skipped") is not None
}
unexpected = {name: why for name, why in skipped.items() if name not in allowed}
for name, why in unexpected.items():
    print(f"skipped, but not named in .ci/skips: {name}: {why}")
print(f"{len(skipped)} skipped, {len(unexpected)} of them unexpected")
sys.exit(1 if unexpected else 0)
