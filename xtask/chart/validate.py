"""Holds rendered documents against the schemas of Kubernetes, strictly: no key that it doesn't know.

In: arguments, each VERSION=FILE. Out: nothing, or a line for each fault on standard error, and exit code 1. A PodMonitor is no kind
of Kubernetes' own: it is held against the part of its schema that stands beside this file.
"""

import copy
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

POD_MONITOR = json.loads(pathlib.Path(__file__).with_name("podmonitor.schema.json").read_text())


def faults_of(document, version):
    try:
        if document["kind"] == "PodMonitor":
            jsonschema.validate(document, POD_MONITOR)
        else:
            kubernetes_validate.validate(document, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as fault:
        where = ".".join(str(step) for step in fault.path)
        return [f"{document['kind']}: {where}: {fault.message}"]
    return []


def is_blind(document, version):
    """A validator that lets a key through that nobody knows is none."""
    wrong = copy.deepcopy(document)
    wrong["metadata"]["surname"] = "qtap"
    return not faults_of(wrong, version)


def main():
    faults = []
    for argument in sys.argv[1:]:
        version, _, file = argument.partition("=")
        documents = [one for one in yaml.safe_load_all(pathlib.Path(file).read_text()) if one]
        for document in documents:
            faults += [f"{file}: {fault}" for fault in faults_of(document, version)]
            if is_blind(document, version):
                faults.append(f"{file}: {document['kind']}: an unknown key was let through")
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    sys.exit(1 if faults else 0)


main()
