"""Checks manifests against the published schemas, unknown fields included. Arguments: files; "-" is standard input.

Prints every problem, and fails when there is one. An object of a kind that no schema is known for is a problem, too.
"""

import sys

import kubernetes_validate
import pydantic
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

# The oldest that these manifests are meant for, and the newest that is known.
KUBERNETES = ["1.29", "1.37"]
OTHERS = {model.__name__: model for model in (PrometheusRule, ScaledObject, ServiceMonitor, TriggerAuthentication)}


def problems(thing):
    """What is wrong with one object, a sentence each."""
    model = OTHERS.get(thing.get("kind"))
    if model:
        try:
            model.model_validate(thing, extra="forbid")
        except pydantic.ValidationError as error:
            for one in error.errors():
                yield f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
        return
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(map(str, error.path))}: {error.message} (Kubernetes {version})"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{error.message} (Kubernetes {version})"


def main(files):
    found = checked = 0
    for file in files:
        with sys.stdin if file == "-" else open(file, encoding="utf-8") as text:
            things = [thing for thing in yaml.safe_load_all(text) if thing]
        for thing in things:
            checked += 1
            for problem in problems(thing):
                found += 1
                print(f"{file}: {thing.get('kind')} {thing.get('metadata', {}).get('name')}: {problem}")
    if not checked:
        sys.exit("no manifest was given")
    print(f"{checked} manifests checked, {found} problems")
    sys.exit(1 if found else 0)


main(sys.argv[1:])
