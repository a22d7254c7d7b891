"""Whether a report has the shape that the usual readers of JUnit XML take (Jenkins' xUnit plugin, junit-10.xsd).

`file` and `line` of a case are GitLab's. Prints one line: how many suites, cases and failures there are.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

NUMBER, SECONDS, TEXT = r"\d+", r"\d+(\.\d+)?", r"(?s).+"

# For each element: its attributes (required, optional) and the elements in it, in this order.
SHAPE = {
    "testsuites": (
        {"tests": NUMBER, "failures": NUMBER, "errors": NUMBER, "time": SECONDS},
        {"name": TEXT, "disabled": NUMBER},
        ["testsuite"],
    ),
    "testsuite": (
        {"name": TEXT, "tests": NUMBER, "failures": NUMBER, "errors": NUMBER, "time": SECONDS},
        {"skipped": NUMBER, "timestamp": TEXT, "hostname": TEXT, "id": TEXT, "package": TEXT},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name": TEXT, "classname": TEXT, "time": SECONDS},
        {"assertions": NUMBER, "status": TEXT, "file": TEXT, "line": NUMBER},
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "failure": ({}, {"message": r"(?s).*", "type": TEXT}, []),
    "system-err": ({}, {}, []),
}


def check(element):
    required, optional, inner = SHAPE[element.tag]
    attributes = dict(element.attrib)
    for name, pattern in {**required, **optional}.items():
        value = attributes.pop(name, None)
        assert value is not None or name in optional, f"{element.tag} has no {name}"
        assert value is None or re.fullmatch(pattern, value), f"{element.tag} {name}={value!r}"
    assert not attributes, f"{element.tag} has {attributes}"
    order = [inner.index(child.tag) for child in element]
    assert order == sorted(order), f"{element.tag}: {[child.tag for child in element]}"
    for child in element:
        check(child)


def counted(element):
    cases = element.findall(".//testcase")
    failures = [case for case in cases if case.find("failure") is not None]
    for name, expected in {"tests": len(cases), "failures": len(failures), "errors": 0}.items():
        assert int(element.get(name)) == expected, f"{element.tag} {name}={element.get(name)}, not {expected}"
    return len(cases), len(failures)


root = ElementTree.parse(sys.argv[1]).getroot()
assert root.tag == "testsuites", root.tag
check(root)
for suite in root:
    counted(suite)
print(len(root), *counted(root))
