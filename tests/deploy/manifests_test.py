"""The files of deploy/ for Kubernetes, AWS Batch, ParallelCluster and Slurm against what those who read them accept, and
whether Atoll, started as they say, finds its place.

  python manifests_test.py ATOLL

ATOLL is the program. No cluster is asked: Kubernetes' objects are held against the models of its clients, which
are made from the same definitions as the servers' schemas; Batch against botocore's model; ParallelCluster against its
own schema; shell scripts are read by bash. tests/launchers runs the Slurm script for real.
"""

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from environment import DEPLOY, ROOT, enter

enter(".venv-deploy", "yaml", "kubeflow_trainer_api", "kubeflow.training", "pcluster", "boto3")

os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")  # ParallelCluster's schema wants one

import yaml  # noqa: E402
from kubeflow.training import models as kubeflow_models  # noqa: E402
from kubeflow_trainer_api import models  # noqa: E402
from marshmallow import ValidationError  # noqa: E402
from pcluster.schemas.cluster_schema import ClusterSchema  # noqa: E402
from pcluster.validators.slurm_settings_validator import CustomSlurmSettingsValidator  # noqa: E402

from service_model import errors_of  # noqa: E402
from template import strings  # noqa: E402

VALUES = {
    "IMAGE": "registry.example/atoll:v1",
    "BUCKET": "my-bucket",
    "REGION": "eu-west-1",
    "SUBNET": "subnet-0123456789abcdef0",
    "KEY_PAIR": "me",
    "JOB_ROLE_ARN": "arn:aws:iam::123456789012:role/atoll",
    "EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/ecs",
}


def filled(name):
    """A file with its placeholders filled in, as its header says."""
    text = (DEPLOY / name).read_text()
    return re.sub(r"(?<![A-Za-z_])(" + "|".join(VALUES) + r")(?![A-Za-z_])", lambda found: VALUES[found[1]], text)


def documents(name):
    return list(yaml.safe_load_all(filled(name)))


def environment_of(container):
    return {variable["name"]: variable["value"] for variable in container.get("env", container.get("environment", []))}


class Started(unittest.TestCase):
    """Runs ATOLL as a container would be run."""

    def run_as(self, words, variables, **files):
        """Its output. GPUs of this machine are not its business."""
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "CUDA_VISIBLE_DEVICES": "", **variables}
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / f"{name}.toml").write_text(text)
            words = [ATOLL if word == "atoll" else word.replace("FOLDER", folder) for word in words]
            result = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, f"{words}: {result.stderr}")
        return result.stdout

    def assert_options_exist(self, words, config=""):
        """With --print-config behind, which reads all options and the configuration and stops."""
        index = words.index("--config") + 1
        words = [*words[:index], "FOLDER/run.toml", *words[index + 1:], "--print-config"]
        self.assertIn("[train]\n", self.run_as(words, {}, run=config))

    def place(self, words, variables):
        """(rank, size, address, port) of what the launcher in `words` starts."""
        words = [*words[:words.index("--")], "--exec", "--", "sh", "-c", "echo $RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT"]
        rank, size, address, port = self.run_as(words, variables).split()[-4:]
        return int(rank), int(size), address, int(port)

    def assert_grace_fits(self, words, seconds):
        """The launcher ends before whoever has started it kills it."""
        self.assertLess(int(words[words.index("--grace") + 1]), seconds)


def is_same(given, kept):
    """Whether a model has kept all that it was given, and not dropped what it does not know."""
    if isinstance(given, dict):
        return isinstance(kept, dict) and all(key in kept and is_same(item, kept[key]) for key, item in given.items())
    if isinstance(given, list):
        return isinstance(kept, list) and len(given) == len(kept) and all(map(is_same, given, kept))
    return given == kept


class Kubernetes(Started):
    def assert_pod(self, template):
        kept = models.IoK8sApiCoreV1PodTemplateSpec.from_dict(copy.deepcopy(template)).to_dict()
        self.assertTrue(is_same(template, kept), (template, kept))

    def assert_config_map(self, document):
        self.assertEqual((document["apiVersion"], document["kind"]), ("v1", "ConfigMap"))
        self.assertEqual(document.keys(), {"apiVersion", "kind", "metadata", "data"})
        return document["data"]["run.toml"]

    def assert_pod_works(self, spec, config, name):
        (container,) = spec["containers"]
        words = container["command"] + container["args"]
        self.assert_options_exist(words, config)
        self.assert_grace_fits(words, spec["terminationGracePeriodSeconds"])
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        self.assertEqual(mounts.keys(), volumes.keys())
        self.assertEqual(volumes["run"]["configMap"]["name"], name)
        self.assertEqual(words[words.index("--config") + 1], mounts["run"] + "/run.toml")
        self.assertEqual(environment_of(container)["ATOLL_CACHE_DIR"], mounts["cache"])
        return words, environment_of(container)

    def test_a_jobset_is_one_and_every_pod_finds_its_place(self):
        config_map, jobset = documents("kubernetes/jobset.yaml")
        config = self.assert_config_map(config_map)
        kept = models.JobsetV1alpha2JobSet.from_dict(copy.deepcopy(jobset)).to_dict()
        self.assertTrue(is_same(jobset, kept), (jobset, kept))
        broken = copy.deepcopy(jobset)
        broken["spec"]["failurePolicy"]["maxRestart"] = 3
        self.assertFalse(is_same(broken, models.JobsetV1alpha2JobSet.from_dict(copy.deepcopy(broken)).to_dict()))

        (node,) = jobset["spec"]["replicatedJobs"]
        job = node["template"]["spec"]
        self.assert_pod(job["template"])
        words, variables = self.assert_pod_works(job["template"]["spec"], config, config_map["metadata"]["name"])
        self.assertEqual(job["completionMode"], "Indexed")  # gives the pods their JOB_COMPLETION_INDEX
        self.assertEqual(int(variables["NNODES"]), job["parallelism"])
        self.assertEqual(job["completions"], job["parallelism"])
        # NAME-REPLICATEDJOB-JOB-POD.SUBDOMAIN, the subdomain being the JobSet's name where none is given.
        name = jobset["metadata"]["name"]
        self.assertEqual(variables["MASTER_ADDR"], f"{name}-{node['name']}-0-0.{name}")
        for index in range(job["completions"]):
            place = self.place(words, {**variables, "JOB_COMPLETION_INDEX": str(index)})
            self.assertEqual(place, (index, 2, variables["MASTER_ADDR"], 29500))

    def test_a_pytorchjob_is_one_and_every_pod_finds_its_place(self):
        config_map, job = documents("kubernetes/pytorchjob.yaml")
        config = self.assert_config_map(config_map)
        self.assertEqual((job["apiVersion"], job["kind"]), ("kubeflow.org/v1", "PyTorchJob"))

        def assert_model(value, model):
            """Its keys are the model's; what is allowed in them, the models check when they are made."""
            names = {key: attribute for attribute, key in model.attribute_map.items()}
            self.assertLessEqual(value.keys(), names.keys(), model)
            made = model(**{names[key]: item for key, item in value.items()})
            self.assertTrue(is_same(value, {key: getattr(made, names[key]) for key in value}))

        spec = job["spec"]
        assert_model(job, kubeflow_models.KubeflowOrgV1PyTorchJob)
        assert_model(spec, kubeflow_models.KubeflowOrgV1PyTorchJobSpec)
        assert_model(spec["runPolicy"], kubeflow_models.KubeflowOrgV1RunPolicy)
        replicas = spec["pytorchReplicaSpecs"]
        self.assertEqual(replicas.keys(), {"Master", "Worker"})
        self.assertEqual(replicas["Master"]["replicas"], 1)
        nodes = sum(replica["replicas"] for replica in replicas.values())
        rank = 0
        for role, replica in replicas.items():
            assert_model(replica, kubeflow_models.KubeflowOrgV1ReplicaSpec)
            self.assertIn(replica["restartPolicy"], ("Always", "OnFailure", "Never", "ExitCode"))
            self.assert_pod(replica["template"])
            pod = replica["template"]["spec"]
            self.assertEqual(pod["containers"][0]["name"], "pytorch")
            words, variables = self.assert_pod_works(pod, config, config_map["metadata"]["name"])
            for _ in range(replica["replicas"]):
                # What the operator adds (pkg/controller.v1/pytorch/envvar.go).
                master = f"{job['metadata']['name']}-master-0"
                variables = {**variables, "MASTER_ADDR": master, "MASTER_PORT": "23456", "RANK": str(rank),
                             "WORLD_SIZE": str(nodes), "PET_MASTER_ADDR": master, "PET_MASTER_PORT": "23456",
                             "PET_NNODES": str(nodes), "PET_NODE_RANK": str(rank), "PET_NPROC_PER_NODE": spec["nprocPerNode"]}
                self.assertEqual(self.place(words, variables), (rank, nodes, master, 23456), role)
                rank += 1


class Batch(Started):
    def setUp(self):
        self.definition = json.loads(filled("batch/job-definition.json"))

    def test_the_service_takes_the_definition(self):
        self.assertEqual(errors_of("batch", "RegisterJobDefinition", self.definition), [])
        broken = copy.deepcopy(self.definition)
        broken["nodeProperties"]["nodeRangeProperties"][0]["container"]["commands"] = []
        self.assertNotEqual(errors_of("batch", "RegisterJobDefinition", broken), [])
        broken = {**self.definition, "type": "several nodes"}
        self.assertNotEqual(errors_of("batch", "RegisterJobDefinition", broken), [])

    def test_every_node_finds_its_place(self):
        nodes = self.definition["nodeProperties"]
        (node,) = nodes["nodeRangeProperties"]
        self.assertEqual(node["targetNodes"], "0:")
        container = node["container"]
        command = [self.definition["parameters"][word[5:]] if word.startswith("Ref::") else word for word in container["command"]]
        self.assert_options_exist(command)
        self.assert_grace_fits(command, 30)  # what ECS leaves a container
        for index in range(nodes["numNodes"]):
            variables = {**environment_of(container), "AWS_BATCH_JOB_ID": f"0f3b2c1a-1111-4222-8333-444455556666#{index}",
                         "AWS_BATCH_JOB_NUM_NODES": str(nodes["numNodes"]), "AWS_BATCH_JOB_NODE_INDEX": str(index),
                         "AWS_BATCH_JOB_MAIN_NODE_INDEX": str(nodes["mainNode"])}
            if index != nodes["mainNode"]:
                variables["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = "10.0.3.17"
            rank, size, address, port = self.place(command, variables)
            self.assertEqual((rank, size), (index, 2))
            self.assertEqual(address, "127.0.0.1" if index == 0 else "10.0.3.17")
            self.assertIn(port, range(20000, 30000))

    def test_volumes_are_mounted_and_parameters_used(self):
        (node,) = self.definition["nodeProperties"]["nodeRangeProperties"]
        container = node["container"]
        self.assertEqual([volume["name"] for volume in container["volumes"]],
                         [mount["sourceVolume"] for mount in container["mountPoints"]])
        used = {word[5:] for word in container["command"] if word.startswith("Ref::")}
        self.assertEqual(used, self.definition["parameters"].keys())


class ParallelCluster(unittest.TestCase):
    def test_its_schema_takes_the_configuration(self):
        (cluster,) = documents("parallelcluster/cluster.yaml")
        loaded = ClusterSchema("atoll").load(copy.deepcopy(cluster))
        (queue,) = loaded.scheduling.queues
        self.assertTrue(queue.compute_resources[0].efa.enabled)
        settings = loaded.scheduling.settings.custom_slurm_settings
        denied = CustomSlurmSettingsValidator().execute(settings, [], "SlurmSettings")
        self.assertEqual([failure.message for failure in denied], [])
        broken = copy.deepcopy(cluster)
        broken["Scheduling"]["SlurmQueues"][0]["ComputeResource"] = []
        with self.assertRaises(ValidationError):
            ClusterSchema("atoll").load(broken)

    def test_a_node_script_without_a_checkout_does_nothing_and_with_one_installs_its_packages(self):
        script = DEPLOY / "parallelcluster/node.sh"
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([script, folder], check=True)
            run = Path(folder) / "run"
            run.write_text('BUILD_PACKAGES=(one two)\ninstall_packages() { echo "$*" >installed; }\n')
            run.chmod(0o755)
            subprocess.run([script, folder], check=True)
            self.assertEqual((Path(folder) / "installed").read_text(), "one two\n")
        # These are names of ./run's own.
        self.assertRegex((ROOT / "run").read_text(), r"(?m)^BUILD_PACKAGES=\(\n[\s\S]*^install_packages\(\) \{$")


class Files(unittest.TestCase):
    def test_scripts_parse(self):
        for script in ("slurm/atoll.sbatch", "parallelcluster/node.sh", "mount.atoll"):
            subprocess.run(["bash", "-n", DEPLOY / script], check=True)
            self.assertTrue(os.access(DEPLOY / script, os.X_OK), script)

    def test_commands_of_the_readme_and_of_headers_parse(self):
        blocks = re.findall(r"(?m)^((?:    .*\n)+)", (DEPLOY / "README.md").read_text())
        for name in ("kubernetes/jobset.yaml", "kubernetes/pytorchjob.yaml", "parallelcluster/cluster.yaml", "slurm/atoll.sbatch"):
            found = re.findall(r"(?m)^((?:#   .*\n)+)", (DEPLOY / name).read_text())
            self.assertTrue(found, name)
            blocks += [block.replace("#   ", "") for block in found]
        self.assertGreater(len(blocks), 8)
        for block in blocks:
            result = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stderr), (0, ""), block)

    def test_the_slurm_script_leaves_the_launcher_less_than_it_was_given(self):
        text = (DEPLOY / "slurm/atoll.sbatch").read_text()
        seconds = int(re.search(r"(?m)^#SBATCH --signal=TERM@(\d+)$", text)[1])
        self.assertLess(int(re.search(r"--grace (\d+)", text)[1]), seconds)

    def test_every_placeholder_is_named_in_its_files_header_or_in_the_readme(self):
        readme = (DEPLOY / "README.md").read_text()
        for name in ("kubernetes/jobset.yaml", "kubernetes/pytorchjob.yaml", "parallelcluster/cluster.yaml",
                     "batch/job-definition.json"):
            text = (DEPLOY / name).read_text()
            header = "".join(line for line in text.splitlines(True) if line.startswith("#")) or readme
            body = "".join(line for line in text.splitlines(True) if not line.startswith("#"))
            found = set(re.findall(r"(?<![A-Za-z_])(" + "|".join(VALUES) + r")(?![A-Za-z_])", body))
            self.assertTrue(found)
            for placeholder in found:
                self.assertIn(f"s|{placeholder}|", header, name)
            left = [text for text in strings(yaml.safe_load(json.dumps([*yaml.safe_load_all(filled(name))])))
                    if re.search(r"\b(IMAGE|BUCKET|SUBNET|REGION)\b", text)]
            self.assertEqual(left, [], name)


if __name__ == "__main__":
    ATOLL = str(Path(sys.argv.pop(1)).resolve())
    unittest.main()
