"""YAML for the tests: `json` turns the documents of the standard input into a JSON list; `validate` checks them
against the schemas of Kubernetes and of the custom resources in the folders that are named, where an unknown field is
a fault, and prints the faults as a JSON list."""

import json
import pathlib
import sys
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

# Written in C where it is to be had: the schemas are long.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# The line of Kubernetes that k3s of the pinned nixpkgs has.
KUBERNETES = "1.35"


def strict(schema: Any) -> Any:
    """The schema of a custom resource in JSON Schema, refusing fields that it does not know."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: strict(field) for name, field in value.items()}
        elif key in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
            result[key] = strict(value)
        elif not key.startswith("x-kubernetes") and key not in ("description", "default", "format", "nullable"):
            result[key] = value
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not open_ended:
        result["additionalProperties"] = False
    if schema.get("nullable") and "type" in result:
        result["type"] = [result["type"], "null"]
    return result


def custom(folders: list[str]) -> dict[tuple[str, str], Any]:
    """The schemas of the custom resources, by apiVersion and kind."""
    schemas = {}
    for folder in folders:
        for file in sorted(pathlib.Path(folder).glob("*.yaml")):
            for crd in yaml.load_all(file.read_text(), LOADER):
                if not crd or crd.get("kind") != "CustomResourceDefinition":
                    continue
                for version in crd["spec"]["versions"]:
                    schema = strict(version["schema"]["openAPIV3Schema"])
                    # What the API server itself knows of every object.
                    schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
                    schema["properties"]["metadata"] = METADATA
                    key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                    schemas[key] = schema
    return schemas


TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": TEXTS,
        "annotations": TEXTS,
        "finalizers": {"type": "array", "items": {"type": "string"}},
    },
}


def faults(documents: list[Any], schemas: dict[tuple[str, str], Any]) -> list[str]:
    found = []
    for document in documents:
        name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
        try:
            schema = schemas.get((document.get("apiVersion"), document.get("kind")))
            if schema is None:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            else:
                jsonschema.validate(document, schema)
        except jsonschema.ValidationError as error:
            found.append(f"{name}: {'.'.join(str(part) for part in error.path)}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(f"{name}: {error.message}")
    return found


def main(command: str, *folders: str) -> None:
    documents = [document for document in yaml.load_all(sys.stdin, LOADER) if document is not None]
    if command == "json":
        print(json.dumps(documents))
    elif command == "validate":
        print(json.dumps(faults(documents, custom(list(folders)))))
    else:
        sys.exit(f"check.py does not know {command!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
