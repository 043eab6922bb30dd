"""A CloudFormation template as values: what it makes for given parameters.

    template = Template.read(path)
    template.decided(FileSystem="none")        # the template with its conditions decided, references left in it
    template.resources(FileSystem="none")      # what is made, every reference a made-up value: "made-Vpc", "arn:aws:made:::Key"

Only the functions that deploy/cloudformation uses; any other is an error.
"""

import ipaddress
import re

import yaml

PSEUDO = {
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "atoll",
}
NOTHING = object()  # AWS::NoValue


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags in their long form, and a key that stands twice an error."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.constructor.ConstructorError(None, None, f"a key stands twice in {keys}", node.start_mark)
        return super().construct_mapping(node, deep)


def _tagged(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", _tagged)


def strings(value):
    """All strings anywhere in it, keys of mappings too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


class Template:
    def __init__(self, document):
        self.document = document

    @classmethod
    def read(cls, path):
        return cls(yaml.load(path.read_text(), Loader))

    def parameters(self, **given):
        unknown = given.keys() - self.document["Parameters"].keys()
        if unknown:
            raise KeyError(f"no such parameters: {unknown}")
        found = {name: parameter.get("Default") for name, parameter in self.document["Parameters"].items()}
        found.update(given)
        missing = [name for name, value in found.items() if value is None]
        if missing:
            raise KeyError(f"parameters without a value: {missing}")
        return {name: str(value) for name, value in found.items()}

    def condition(self, name, parameters):
        return self._truth(self.document["Conditions"][name], parameters)

    def _truth(self, value, parameters):
        ((function, of),) = value.items()
        if function == "Condition":
            return self.condition(of, parameters)
        if function == "Fn::Equals":
            left, right = (parameters[side["Ref"]] if isinstance(side, dict) else side for side in of)
            return left == right
        truths = [self._truth(item, parameters) for item in of]
        return {"Fn::Not": lambda: not truths[0], "Fn::And": lambda: all(truths), "Fn::Or": lambda: any(truths)}[function]()

    def _decide(self, value, parameters):
        if isinstance(value, list):
            items = (self._decide(item, parameters) for item in value)
            return [item for item in items if item is not NOTHING]
        if not isinstance(value, dict):
            return value
        if value == {"Ref": "AWS::NoValue"}:
            return NOTHING
        if "Fn::If" in value:
            name, yes, no = value["Fn::If"]
            return self._decide(yes if self.condition(name, parameters) else no, parameters)
        if "Fn::Cidr" in value:
            block, count, bits = value["Fn::Cidr"]
            block = ipaddress.ip_network(parameters[block["Ref"]])
            parts = block.subnets(new_prefix=32 - int(bits))
            return [str(next(parts)) for _ in range(int(count))]
        items = {key: self._decide(item, parameters) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not NOTHING}

    def decided(self, **given):
        """Without what the conditions leave out, and without the functions that moto does not know."""
        parameters = self.parameters(**given)
        document = dict(self.document)
        for section in ("Resources", "Outputs"):
            document[section] = {
                name: self._decide({key: item for key, item in entry.items() if key != "Condition"}, parameters)
                for name, entry in document[section].items()
                if "Condition" not in entry or self.condition(entry["Condition"], parameters)
            }
        for section in ("Conditions", "Rules", "Metadata"):
            document.pop(section, None)
        return document

    def resources(self, **given):
        """Name: resource, nothing but plain values in it. A reference to what the conditions leave out is an error."""
        return self._resolved("Resources", given)

    def outputs(self, **given):
        return {name: output["Value"] for name, output in self._resolved("Outputs", given).items()}

    def _resolved(self, section, given):
        document = self.decided(**given)
        known = {**PSEUDO, **self.parameters(**given)}

        def reference(name):
            if name in known:
                return known[name]
            if name.split(".")[0] not in document["Resources"]:
                raise KeyError(f"{name} is not made with {given}")
            return f"arn:aws:made:::{name[:-4]}" if name.endswith(".Arn") else f"made-{name}"

        def resolve(value):
            if isinstance(value, list):
                return [resolve(item) for item in value]
            if not isinstance(value, dict):
                return value
            function = next(iter(value), "") if len(value) == 1 else ""
            if function == "Ref":
                return reference(value["Ref"])
            if not function.startswith("Fn::"):
                return {key: resolve(item) for key, item in value.items()}
            of = value[function]
            if function == "Fn::GetAtt":
                return reference(".".join(of))
            if function == "Fn::Sub":
                text, own = of if isinstance(of, list) else (of, {})
                own = {name: resolve(item) for name, item in own.items()}
                return re.sub(r"\$\{([^}!]+)\}", lambda hole: own[hole[1]] if hole[1] in own else reference(hole[1]), text)
            if function == "Fn::GetAZs":
                return [f"{PSEUDO['AWS::Region']}{zone}" for zone in "abc"]
            if function == "Fn::Select":
                return resolve(of[1])[int(of[0])]
            if function == "Fn::Base64":
                return resolve(of)
            raise KeyError(f"the function {function} is unknown here")

        return resolve(document[section])
