"""What a collector of OpenTelemetry would read: request bodies in base64, a line each, are read with the published classes and printed as a line of
JSON each. The first line printed is about names: those of the published conventions, and which of them are deprecated."""
import base64
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

CONSTANT = re.compile(r'^[A-Z_0-9]+: Final = "([a-z0-9_.]+)"\n(?:"""(.*?)""")?', re.MULTILINE | re.DOTALL)


def names():
    found = {}
    # One that became stable is said to be deprecated where it was before.
    for package in ("opentelemetry.semconv.attributes", "opentelemetry.semconv._incubating.attributes"):
        for folder in find_spec(package).submodule_search_locations:
            for path in Path(folder).glob("*.py"):
                for name, words in CONSTANT.findall(path.read_text()):
                    found.setdefault(name, "Deprecated" in words)
    return {"names": sorted(found), "deprecated": sorted(name for name, is_deprecated in found.items() if is_deprecated)}


def value_of(value):
    return getattr(value, value.WhichOneof("value"))


def attributes_of(attributes):
    return {attribute.key: value_of(attribute.value) for attribute in attributes}


def spans_of(body):
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    "resource": attributes_of(resource_spans.resource.attributes),
                    "schema": resource_spans.schema_url,
                    "scope": scope_spans.scope.name,
                    "traceId": span.trace_id.hex(),
                    "spanId": span.span_id.hex(),
                    "parentId": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "flags": span.flags,
                    "status": span.status.code,
                    "attributes": attributes_of(span.attributes),
                    "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    "unknown": [field.field_number for message in (request, span) for field in UnknownFieldSet(message)],
                }


print(json.dumps(names()), flush=True)
for line in sys.stdin:
    print(json.dumps(list(spans_of(base64.b64decode(line)))), flush=True)
