"""What a service of AWS would say against the parameters of a request, as far as botocore's model of it tells."""

import re

import botocore.session
import botocore.validate


def errors_of(service, operation, parameters):
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report = botocore.validate.ParamValidator().validate(parameters, shape)
    errors = [report.generate_report()] if report.has_errors() else []
    return errors + list(beyond_limits(parameters, shape, operation))


def beyond_limits(value, shape, where):
    """Names, enumerations, patterns and largest values, most of which botocore leaves to the service."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, item in value.items():
            if name in shape.members:
                yield from beyond_limits(item, shape.members[name], f"{where}.{name}")
            else:
                yield f"{where} knows no {name}"
    elif shape.type_name == "map" and isinstance(value, dict):
        for item in value.values():
            yield from beyond_limits(item, shape.value, where)
    elif shape.type_name == "list" and isinstance(value, list):
        if len(value) > shape.metadata.get("max", len(value)):
            yield f"{where} has {len(value)} items"
        for item in value:
            yield from beyond_limits(item, shape.member, where)
    else:
        pattern = shape.metadata.get("pattern", "")
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{where}: {value!r} is none of {shape.enum}"
        # Python's expressions have no \p{...}.
        if pattern and r"\p{" not in pattern and not re.search(pattern, str(value)):
            yield f"{where}: {value!r} does not match {pattern}"
        size = len(value) if isinstance(value, str) else value
        if "max" in shape.metadata and size > shape.metadata["max"]:
            yield f"{where}: {value!r} is beyond {shape.metadata['max']}"
