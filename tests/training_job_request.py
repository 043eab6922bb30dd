"""What `atoll job render` prints against botocore's own model of CreateTrainingJob.

  python training_job_request.py ATOLL

Job files that use every key between them are rendered; each request must pass botocore's validator (members, types, ranges,
required ones), and, what that does not look at, hold to the model's patterns, enumerations and lengths. Then files with a
mistake each: render must refuse what the model refuses. Exits 1 at the first difference, 77 without botocore.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import botocore.loaders
    import botocore.model
    import botocore.validate
except ImportError:
    root = pathlib.Path(__file__).resolve().parent.parent
    for python in (root / ".venv-moto/bin/python", root / ".venv-peers/bin/python"):
        if python.exists() and str(python) != sys.executable:
            os.execv(python, [str(python), *sys.argv])
    print("skipped: there is no botocore (./run peers installs it)")
    sys.exit(77)

BASICS = """
name = "coco-r50"
image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:1"
role = "arn:aws:iam::123456789012:role/service-role/atoll-job"
[instances]
type = "ml.p4d.24xlarge"
[output]
uri = "s3://bucket/jobs"
"""

GOOD = {
    "least": BASICS,
    "bucket": BASICS + """
compression = "none"
kms_key = "arn:aws:kms:eu-central-1:123456789012:key/0123-4567"
[channels.train]
uri = "s3://bucket/coco"
mode = "FastFile"
sharded = true
content_type = "image/jpeg"
[channels.pipe]
uri = "s3://bucket/records"
mode = "Pipe"
[channels.weights]
uri = "s3://bucket/weights"
[hyperparameters]
preset = "r50_fpn"
train.steps = 5000
train.milestones = [0.5, 0.75]
[checkpoints]
uri = "s3://bucket/checkpoints"
path = "/opt/ml/checkpoints"
[stopping]
max_runtime_s = 3600
max_pending_s = 7200
[spot]
enabled = true
max_wait_s = 7200
[environment]
NCCL_DEBUG = "INFO"
[tags]
project = "Käse/x"
[profiler]
uri = "s3://bucket/profiler"
interval_ms = 500
""",
    "file systems": "retries = 30\nregion = \"eu-central-1\"\n" + BASICS.replace("[output]", """
count = 16
volume_gb = 500
keep_alive_s = 3600
[channels.lustre]
fsx = "fs-0123456789abcdef0"
directory = "/abcdefgh/coco"
access = "ro"
local = "/mnt/fsx"
[channels.efs]
efs = "fs-01234567"
directory = "/coco"
access = "rw"
[vpc]
subnets = ["subnet-0123456789abcdef0", "subnet-0a1b2c3d"]
security_groups = ["sg-0123456789abcdef0"]
encrypt_traffic = true
isolate = true
[profiler]
enabled = false
[output]"""),
    "in place": BASICS + '[channels.train]\nuri = "s3://bucket/coco"\nmode = "InPlace"\n',
}

# What is replaced in the good ones, and the member of the request that becomes wrong with it.
BAD = [
    ("least", 'name = "coco-r50"', 'name = "coco_r50"', "TrainingJobName"),
    ("least", 'name = "coco-r50"', f'name = "{"a" * 64}"', "TrainingJobName"),
    ("least", "role/service-role", "user/service-role", "RoleArn"),
    ("least", "ml.p4d.24xlarge", "p4d.24xlarge", "InstanceType"),
    ("least", "s3://bucket/jobs", "bucket/jobs", "S3OutputPath"),
    ("bucket", "NCCL_DEBUG", "1NCCL", "Environment"),
    ("bucket", "INFO", "x" * 513, "Environment"),
    ("bucket", "r50_fpn", "x" * 2501, "HyperParameters"),
    ("bucket", "[channels.weights]", '[channels."a b"]', "ChannelName"),
    ("bucket", "max_pending_s = 7200", "max_pending_s = 100", "MaxPendingTimeInSeconds"),
    ("file systems", "fs-0123456789abcdef0", "fs-0123", "FileSystemId"),
    ("file systems", 'access = "ro"', 'access = "no"', "FileSystemAccessMode"),
    ("file systems", '"subnet-0a1b2c3d"', '"subnet_0a1b2c3d"', "Subnets"),
    ("file systems", "retries = 30", "retries = 31", "MaximumRetryAttempts"),
    ("file systems", "keep_alive_s = 3600", "keep_alive_s = 21601", "KeepAlivePeriodInSeconds"),
]

# Java's classes in the model's patterns, in Python's words.
CLASSES = {r"\p{L}": r"\w", r"\p{Z}": r"\s", r"\p{N}": r"\d", r"\p{Alnum}": r"a-zA-Z0-9"}


def breaches(shape, value, place):
    """What botocore's validator leaves to the service."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from breaches(shape.members[name], inner, f"{place}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            yield from breaches(shape.member, inner, place)
        yield from length_breaches(shape, len(value), place)
    elif shape.type_name == "map":
        for key, inner in value.items():
            yield from breaches(shape.key, key, f"{place} key")
            yield from breaches(shape.value, inner, f"{place}.{key}")
        yield from length_breaches(shape, len(value), place)
    elif shape.type_name == "string":
        yield from length_breaches(shape, len(value), place)
        pattern = shape.metadata.get("pattern")
        for java, python in CLASSES.items():
            pattern = pattern and pattern.replace(java, python)
        if pattern and not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{place}: {value[:80]!r} is not {pattern}"
        if shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is none of the enumeration"
    elif shape.type_name in ("integer", "long"):
        yield from length_breaches(shape, value, place)


def length_breaches(shape, size, place):
    if size > shape.metadata.get("max", size) or size < shape.metadata.get("min", size):
        yield f"{place}: {size} is not in {shape.metadata}"


def render(atoll, folder, text):
    file = pathlib.Path(folder) / "job.toml"
    file.write_text(text)
    return subprocess.run([atoll, "job", "render", str(file)], capture_output=True, text=True)


def main():
    (atoll,) = sys.argv[1:]
    model = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    shape = botocore.model.ServiceModel(model).operation_model("CreateTrainingJob").input_shape
    with tempfile.TemporaryDirectory() as folder:
        for name, text in GOOD.items():
            done = render(atoll, folder, text)
            if done.returncode != 0:
                sys.exit(f"{name}: refused: {done.stderr}")
            request = json.loads(done.stdout)
            report = botocore.validate.ParamValidator().validate(request, shape)
            wrong = [report.generate_report()] if report.has_errors() else list(breaches(shape, request, name))
            if wrong:
                sys.exit(f"{name}: {wrong}\n{done.stdout}")
        for name, good, bad, member in BAD:
            if good not in GOOD[name]:
                sys.exit(f"{name} does not hold {good!r}")
            done = render(atoll, folder, GOOD[name].replace(good, bad, 1))
            if done.returncode != 2 or not done.stderr.strip():
                sys.exit(f"{name}: {member} {bad[:80]!r} was taken ({done.returncode}): {done.stderr}")
    print(json.dumps({"botocore": botocore.__version__, "taken": len(GOOD), "refused": len(BAD)}))


if __name__ == "__main__":
    main()
