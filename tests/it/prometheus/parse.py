"""Reads a page of metrics with the official Python client's own parser, and prints every family as JSON.

Its argument is the format: prometheus or openmetrics. The OpenMetrics parser is a strict one.
"""

import json
import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

read = {
    "prometheus": parser.text_string_to_metric_families,
    "openmetrics": openmetrics_parser.text_string_to_metric_families,
}[sys.argv[1]]

print(json.dumps([
    {
        "name": family.name,
        "type": family.type,
        "help": family.documentation,
        "samples": [{"name": it.name, "labels": it.labels, "value": it.value} for it in family.samples],
    }
    for family in read(sys.stdin.read())
]))
