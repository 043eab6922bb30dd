"""deploy/cloudformation/atoll.yaml: what must never be in it, what it makes, and whether AWS's own descriptions of its
interfaces agree.

Nothing here has been seen by AWS itself. cfn-lint holds the template against the published schemas of its resources;
moto makes of it what moto can, its IAM being strict about policies; what it cannot, FSx above all, is held against
botocore's model of the service.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

from environment import DEPLOY, enter

enter(".venv-deploy", "yaml", "cfnlint", "moto.cloudformation", "boto3")

import boto3  # noqa: E402
import cfnlint.api  # noqa: E402
import cfnlint.config  # noqa: E402
import moto  # noqa: E402

from service_model import errors_of  # noqa: E402
from template import Template, strings  # noqa: E402
from unscoped_actions import UNSCOPED_ACTIONS  # noqa: E402

PATH = DEPLOY / "cloudformation/atoll.yaml"
TEMPLATE = Template.read(PATH)
PREFIX_LIST = {"S3PrefixListId": "pl-0123456789abcdef0"}

# Each parameter that decides something, both ways.
VARIANTS = [
    {},
    {"FileSystem": "none"},
    {"FileSystem": "PERSISTENT_2", "FileSystemSize": "2400", "FileSystemThroughput": "500"},
    {"NotebookName": "drive"},
    {"InterfaceEndpoints": "true", "PublicS3Bucket": "coco-of-others"},
    {"ShouldCreateBucket": "false", "PublicS3Bucket": "ours-already", "NotebookName": "drive"},
    {"sourceCidr": "192.168.7.0/24", "VpcCidr": "172.16.0.0/20"},
]

LAB_PARAMETERS = {"sourceCidr", "NotebookName", "VolumeSize", "NotebookInstanceType", "PublicS3Bucket", "ShouldCreateBucket"}
LAB_OUTPUTS = {"awsRegionId", "privateSubnet", "vpc", "vpcSecurityGroup", "iamRole", "FileSystemId", "S3Endpoint"}

# The roles by which FSx reaches buckets, one for each file system ("Using service-linked roles", FSx for Lustre User Guide).
FSX_ROLES = ("arn:aws:iam::123456789012:role/aws-service-role/s3.data-source.lustre.fsx.amazonaws.com/"
             "AWSServiceRoleForFSxS3Access_*")

# Properties that are names which AWS would make up otherwise.
NAMES = re.compile(r"^(BucketName|RoleName|GroupName|PolicyName|ManagedPolicyName|RepositoryName|AliasName|"
                   r"NotebookInstanceName|NotebookInstanceLifecycleConfigName|LogGroupName)$")


def each_variant():
    for variant in VARIANTS:
        yield variant, TEMPLATE.resources(**PREFIX_LIST, **variant)


def of_type(resources, kind):
    return {name: entry["Properties"] for name, entry in resources.items() if entry["Type"] == kind}


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements(resources):
    """(resource's name, its type, statement) of every policy."""
    for name, entry in resources.items():
        def walk(value):
            if isinstance(value, dict):
                if "Effect" in value:
                    yield value
                else:
                    for item in value.values():
                        yield from walk(item)
            elif isinstance(value, list):
                for item in value:
                    yield from walk(item)
        for statement in walk(entry["Properties"]):
            yield name, entry["Type"], statement


class WhatMustNotBe(unittest.TestCase):
    def test_nothing_is_open_to_everyone(self):
        for variant, resources in each_variant():
            for text in strings(resources):
                self.assertNotRegex(text, r"0\.0\.0\.0|::/0", variant)
        pattern = re.compile(TEMPLATE.document["Parameters"]["sourceCidr"]["AllowedPattern"])
        for wide in ("0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/0", "10.0.0.0/7", "8.8.8.0/24", "172.32.0.0/16", "10.0.0/8", "::/0"):
            self.assertIsNone(pattern.search(wide), wide)
        for private in ("", "10.0.0.0/8", "172.31.4.0/24", "192.168.7.3/32"):
            self.assertIsNotNone(pattern.search(private), private)

    def test_no_way_leads_to_the_internet(self):
        forbidden = {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::VPCGatewayAttachment", "AWS::EC2::Route",
                     "AWS::EC2::EIP", "AWS::EC2::EgressOnlyInternetGateway"}
        for variant, resources in each_variant():
            self.assertEqual({entry["Type"] for entry in resources.values()} & forbidden, set(), variant)
            subnets = of_type(resources, "AWS::EC2::Subnet")
            for subnet in subnets.values():
                self.assertIs(subnet["MapPublicIpOnLaunch"], False)
            links = of_type(resources, "AWS::EC2::SubnetRouteTableAssociation").values()
            self.assertEqual({link["SubnetId"] for link in links}, {f"made-{name}" for name in subnets})
            self.assertEqual({link["RouteTableId"] for link in links}, {"made-RouteTable"})
            self.assertEqual(resources["S3Endpoint"]["Properties"]["RouteTableIds"], ["made-RouteTable"])
            for notebook in of_type(resources, "AWS::SageMaker::NotebookInstance").values():
                self.assertEqual(notebook["DirectInternetAccess"], "Disabled")
                self.assertEqual(notebook["RootAccess"], "Disabled")

    def test_what_is_allowed_is_named(self):
        for variant, resources in each_variant():
            for name, kind, statement in statements(resources):
                if statement["Effect"] == "Deny":
                    continue
                where = (variant, name, statement)
                actions = as_list(statement["Action"])
                own_key = kind == "AWS::KMS::Key"  # "*" is the key itself there
                if not (own_key and statement["Sid"] == "TheAccount"):
                    for action in actions:
                        self.assertRegex(action, r"^[a-z0-9-]+:[A-Za-z]+$", where)
                if statement.get("Resource") == "*" and not own_key:
                    self.assertLessEqual(set(actions), UNSCOPED_ACTIONS, where)
                for resource in as_list(statement.get("Resource", [])):
                    self.assertTrue(resource == "*" or resource.startswith(("arn:aws:", "made-")), where)
                    # A wildcard stands for names within something that is named.
                    self.assertRegex(resource, r"^(\*|[^*]+|[^*]*[:/][^*:/]+[:/]\*)$", where)

    def test_everyone_is_never_a_principal_without_a_condition_or_a_named_resource(self):
        for variant, resources in each_variant():
            for name, kind, statement in statements(resources):
                if statement["Effect"] == "Deny" or "*" not in strings(statement.get("Principal", {})):
                    continue
                if kind == "AWS::EC2::VPCEndpoint":  # not a grant: what an endpoint lets through of what others grant
                    self.assertTrue("Condition" in statement or "*" not in as_list(statement["Resource"]), (variant, name))
                else:
                    self.assertEqual((name, statement["Sid"]), ("Key", "TheLinkOfTheFileSystem"))
                    self.assertEqual(statement["Condition"]["StringEquals"]["kms:CallerAccount"], "123456789012")
                    self.assertEqual(statement["Condition"]["ArnLike"]["aws:PrincipalArn"], FSX_ROLES)

    def test_no_resource_has_a_fixed_name(self):
        for variant, resources in each_variant():
            for name, entry in resources.items():
                for property, value in entry["Properties"].items():
                    if NAMES.match(property):
                        self.assertEqual((property, value), ("NotebookInstanceName", variant.get("NotebookName")), name)

    def test_roles_are_the_services_and_of_this_account(self):
        for variant, resources in each_variant():
            roles = of_type(resources, "AWS::IAM::Role")
            self.assertIn("JobRole", roles)
            for role in roles.values():
                (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
                self.assertEqual(trust["Principal"], {"Service": "sagemaker.amazonaws.com"})
                self.assertEqual(trust["Condition"], {"StringEquals": {"aws:SourceAccount": "123456789012"}})
                for policy in role["ManagedPolicyArns"]:
                    self.assertRegex(policy, "^made-", "a policy of AWS's own gives more than is wanted")


class WhatMustBe(unittest.TestCase):
    def test_parameters_and_outputs_of_the_lab_are_there(self):
        self.assertLessEqual(LAB_PARAMETERS, TEMPLATE.document["Parameters"].keys())
        outputs = TEMPLATE.outputs(**PREFIX_LIST)
        self.assertLessEqual(LAB_OUTPUTS | {"MountName"}, outputs.keys())
        self.assertEqual(outputs["MountName"], "made-FileSystemResource.LustreMountName")
        without = TEMPLATE.outputs(**PREFIX_LIST, FileSystem="none")
        self.assertEqual(outputs.keys() - without.keys(), {"FileSystemId", "MountName"})

    def test_every_variant_is_whole(self):
        """A reference to what a condition leaves out would raise."""
        for variant, resources in each_variant():
            TEMPLATE.outputs(**PREFIX_LIST, **variant)
            for name, entry in resources.items():
                for text in strings(entry):
                    self.assertNotIn("${", text.replace("${!", ""), name)

    def test_the_group_lets_lustre_and_efa_through_and_nothing_else(self):
        def rules(resources, kind):
            return {name: rule for name, rule in of_type(resources, kind).items() if rule["GroupId"] == "made-JobGroup"}

        for variant, resources in each_variant():
            inbound = rules(resources, "AWS::EC2::SecurityGroupIngress").values()
            own = [rule for rule in inbound if rule.get("SourceSecurityGroupId") == "made-JobGroup"]
            self.assertIn("-1", [rule["IpProtocol"] for rule in own])
            ports = {(rule["FromPort"], rule["ToPort"]) for rule in own if rule["IpProtocol"] == "tcp"}
            self.assertEqual(ports, {(988, 988), (1018, 1023)})
            source = [(rule["CidrIp"], rule["FromPort"], rule["ToPort"]) for rule in inbound if "CidrIp" in rule]
            wanted = variant.get("sourceCidr")
            self.assertEqual(source, [(wanted, 988, 988), (wanted, 1018, 1023)] if wanted else [], variant)
            self.assertEqual(len(own) + len(source), len(inbound))

            outbound = rules(resources, "AWS::EC2::SecurityGroupEgress")
            self.assertEqual(outbound["WithinGroupOut"]["DestinationSecurityGroupId"], "made-JobGroup")
            self.assertLessEqual(outbound.keys(), {"WithinGroupOut", "EndpointsOut", "SourceLustreOut"})
            # Inline, or the rule that lets everything out stays.
            (s3,) = resources["JobGroup"]["Properties"]["SecurityGroupEgress"]
            self.assertEqual((s3["DestinationPrefixListId"], s3["FromPort"], s3["ToPort"]),
                             (PREFIX_LIST["S3PrefixListId"], 443, 443))
            self.assertNotIn("SecurityGroupIngress", resources["JobGroup"]["Properties"])
            # FSx refuses a group that does not let Lustre through yet.
            if "FileSystemResource" in resources:
                self.assertLessEqual({"WithinGroupIn", "LustreIn"}, set(resources["FileSystemResource"]["DependsOn"]))

    def test_endpoints_that_cost_are_made_only_where_they_are_wanted(self):
        for variant, resources in each_variant():
            endpoints = of_type(resources, "AWS::EC2::VPCEndpoint")
            kinds = [endpoint["VpcEndpointType"] for endpoint in endpoints.values()]
            wanted = "NotebookName" in variant or "InterfaceEndpoints" in variant
            self.assertEqual(kinds.count("Gateway"), 1)
            self.assertEqual(kinds.count("Interface"), 6 if wanted else 0, variant)

    def test_data_is_read_only_for_jobs_and_runs_are_written_below_their_prefix(self):
        for variant, resources in each_variant():
            bucket = "made-Bucket" if variant.get("ShouldCreateBucket") != "false" else "ours-already"
            for name, _, statement in statements({name: resources[name] for name in ("DataPolicy", "JobRole")}):
                written = [action for action in as_list(statement["Action"]) if re.match("s3:(Put|Delete|Abort)", action)]
                if written:
                    self.assertEqual(statement["Resource"], f"arn:aws:s3:::{bucket}/runs/*", name)
            reads = [statement["Resource"] for _, _, statement in statements({"": resources["DataPolicy"]})
                     if statement["Action"] == "s3:GetObject"]
            self.assertEqual(reads, [f"arn:aws:s3:::{bucket}/coco/*"])

    def test_a_bucket_of_the_stack_is_private_encrypted_and_outlives_it(self):
        resources = TEMPLATE.resources(**PREFIX_LIST)
        bucket = resources["Bucket"]
        self.assertEqual(bucket["DeletionPolicy"], "Retain")
        self.assertTrue(all(bucket["Properties"]["PublicAccessBlockConfiguration"].values()))
        (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        self.assertEqual(rule["ServerSideEncryptionByDefault"], {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:made:::Key"})
        self.assertEqual(bucket["Properties"]["VersioningConfiguration"], {"Status": "Enabled"})
        (deny,) = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        self.assertEqual(deny["Effect"], "Deny")
        self.assertEqual(deny["Condition"], {"Bool": {"aws:SecureTransport": "false"}})
        self.assertEqual(deny["Resource"], ["arn:aws:made:::Bucket", "arn:aws:made:::Bucket/*"])
        self.assertEqual(resources["Key"]["DeletionPolicy"], "Retain")
        self.assertIs(resources["Key"]["Properties"]["EnableKeyRotation"], True)

    def test_a_notebook_starts_without_the_internet(self):
        (start,) = of_type(TEMPLATE.resources(**PREFIX_LIST, NotebookName="drive"),
                           "AWS::SageMaker::NotebookInstanceLifecycleConfig").values()
        script = start["OnStart"][0]["Content"]
        self.assertLess(len(script), 16384)
        self.assertNotRegex(script, r"https?://|git clone|pip install|conda|curl|wget|yum|dnf")
        self.assertTrue(script.startswith("#!/bin/bash\nset -eu\n"))

    def test_the_notebooks_script_puts_a_working_atoll_there(self):
        """Run for real, in folders of its own and with a docker that says what it was asked."""
        (start,) = of_type(TEMPLATE.resources(**PREFIX_LIST, NotebookName="drive"),
                           "AWS::SageMaker::NotebookInstanceLifecycleConfig").values()
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for path in ("usr/local/bin", "user/SageMaker", "bin"):
                (root / path).mkdir(parents=True)
            for program, body in {
                "docker": 'echo "docker $*" >>$LOG; [ "$1 $2" != "image inspect" ]',
                "aws": 'echo "aws $*" >>$LOG; echo password',
                "chown": 'echo "chown $*" >>$LOG',
            }.items():
                (root / "bin" / program).write_text(f"#!/bin/sh\n{body}\n")
                (root / "bin" / program).chmod(0o755)
            script = start["OnStart"][0]["Content"].replace("/usr/local", f"{root}/usr/local").replace("~ec2-user", f"{root}/user")
            log = root / "log"
            environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "LOG": str(log)}
            subprocess.run(["bash", "-c", script], env=environment, check=True)
            subprocess.run([root / "usr/local/bin/atoll", "train", "--out", "a b"], env=environment, check=True, cwd=root)
            asked = log.read_text().splitlines()
            settings = (root / "user/SageMaker/stack.env").read_text()
        image = "made-Repository.RepositoryUri:v1"
        self.assertIn(f"docker image inspect {image}", asked)
        self.assertIn(f"docker pull --quiet {image}", asked)
        self.assertRegex(asked[-1], rf"^docker run .*--volume {root}:{root} --workdir {root} .*--entrypoint atoll {image} train --out a b$")
        self.assertIn("ATOLL_ROLE=arn:aws:made:::JobRole\n", settings)
        self.assertIn("ATOLL_DATA=s3://made-Bucket/coco\n", settings)


class AsAwsDescribesItself(unittest.TestCase):
    def test_cfn_lint_finds_nothing(self):
        matches = cfnlint.api.lint(
            PATH.read_text(),
            config=cfnlint.config.ManualArgs(regions=["us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1"]),
        )
        self.assertEqual([str(match) for match in matches], [])

    def test_it_can_be_given_to_cloudformation_as_it_is(self):
        self.assertLess(PATH.stat().st_size, 51200, "beyond that it must be put into a bucket first")

    def test_fsx_takes_the_file_system_and_its_links(self):
        for variant, resources in each_variant():
            systems = of_type(resources, "AWS::FSx::FileSystem")
            links = of_type(resources, "AWS::FSx::DataRepositoryAssociation")
            self.assertEqual(len(systems), 0 if variant.get("FileSystem") == "none" else 1)
            self.assertEqual(len(links), 2 * len(systems))
            for properties in systems.values():
                self.assertEqual(properties["SubnetIds"], ["made-PrivateSubnet"])
                self.assertEqual(properties["SecurityGroupIds"], ["made-JobGroup"])
                properties = {**properties, "StorageCapacity": int(properties["StorageCapacity"]),
                              "SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
                lustre = dict(properties["LustreConfiguration"])
                persistent = lustre["DeploymentType"] == "PERSISTENT_2"
                self.assertEqual("PerUnitStorageThroughput" in lustre, persistent, "only persistent ones take it")
                self.assertEqual("KmsKeyId" in properties, persistent, "only persistent ones take it")
                if persistent:
                    lustre["PerUnitStorageThroughput"] = int(lustre["PerUnitStorageThroughput"])
                # Links instead of the older pair of paths, which exclude each other.
                self.assertEqual(lustre.keys() & {"ImportPath", "ExportPath", "AutoImportPolicy"}, set())
                request = {**properties, "LustreConfiguration": lustre}
                self.assertEqual(errors_of("fsx", "CreateFileSystem", request), [])
            for properties in links.values():
                self.assertRegex(properties["DataRepositoryPath"], r"^s3://[^/]+/(coco|runs)/$")
                request = {**properties, "FileSystemId": "fs-0123456789abcdef0"}
                self.assertEqual(errors_of("fsx", "CreateDataRepositoryAssociation", request), [])
            # Neither paths nor prefixes of two links may lie within one another.
            for key in ("FileSystemPath", "DataRepositoryPath"):
                paths = [properties[key].rstrip("/") + "/" for properties in links.values()]
                for path in paths:
                    self.assertEqual([other for other in paths if other.startswith(path)], [path])

    def test_sagemaker_takes_the_notebook(self):
        (notebook,) = of_type(TEMPLATE.resources(**PREFIX_LIST, NotebookName="drive"), "AWS::SageMaker::NotebookInstance").values()
        request = {**notebook, "VolumeSizeInGB": int(notebook["VolumeSizeInGB"]),
                   "RoleArn": "arn:aws:iam::123456789012:role/made-NotebookRole",
                   "LifecycleConfigName": "made-NotebookStart"}
        self.assertEqual(errors_of("sagemaker", "CreateNotebookInstance", request), [])

    def test_the_sizes_offered_are_those_that_lustre_has(self):
        for size in TEMPLATE.document["Parameters"]["FileSystemSize"]["AllowedValues"]:
            self.assertTrue(size == 1200 or size % 2400 == 0)


@moto.mock_aws
class InMoto(unittest.TestCase):
    """What moto makes of it. In templates it knows no egress rules, bucket policies and FSx, and ignores which policies a
    role has and which routes a subnet."""

    def deploy(self, **given):
        document = TEMPLATE.decided(**PREFIX_LIST, FileSystem="none", **given)
        # CloudFormation writes a repository's name small; moto does not, and refuses it.
        document["Resources"]["Repository"]["Properties"]["RepositoryName"] = "atoll-repository"
        client = boto3.client("cloudformation")
        parameters = TEMPLATE.parameters(**PREFIX_LIST, FileSystem="none", **given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client.create_stack(
                StackName="atoll",
                TemplateBody=json.dumps(document),
                Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
                Capabilities=["CAPABILITY_IAM"],
            )
        (stack,) = client.describe_stacks(StackName="atoll")["Stacks"]
        self.assertEqual(stack["StackStatus"], "CREATE_COMPLETE")
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def test_the_network_is_what_was_meant(self):
        outputs = self.deploy(NotebookName="drive")
        ec2 = boto3.client("ec2")
        vpc = [{"Name": "vpc-id", "Values": [outputs["vpc"]]}]
        subnets = ec2.describe_subnets(Filters=vpc)["Subnets"]
        self.assertEqual({subnet["CidrBlock"] for subnet in subnets}, {"10.20.0.0/21", "10.20.8.0/21"})
        self.assertEqual(len({subnet["AvailabilityZone"] for subnet in subnets}), 2)
        tables = ec2.describe_route_tables(Filters=vpc)["RouteTables"]
        targets = {route.get("GatewayId") for table in tables for route in table["Routes"]}
        self.assertEqual(targets - {outputs["S3Endpoint"]}, {"local"})

        (group,) = ec2.describe_security_groups(GroupIds=[outputs["vpcSecurityGroup"]])["SecurityGroups"]
        opened = {(rule.get("FromPort"), rule.get("ToPort"), pair["GroupId"])
                  for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]}
        own = outputs["vpcSecurityGroup"]
        self.assertEqual({pair for pair in opened if pair[0] not in (None, -1)}, {(988, 988, own), (1018, 1023, own)})
        self.assertEqual({pair[2] for pair in opened}, {own})
        ranges = {block["CidrIp"] for rule in group["IpPermissions"] for block in rule["IpRanges"]}
        self.assertEqual(ranges, set())

        endpoints = ec2.describe_vpc_endpoints(Filters=vpc)["VpcEndpoints"]
        services = {endpoint["ServiceName"].split(".", 3)[3] for endpoint in endpoints}
        self.assertEqual(services, {"s3", "sagemaker.api", "logs", "sts", "fsx", "ecr.api", "ecr.dkr"})

    def test_iam_takes_the_roles_and_their_policies(self):
        outputs = self.deploy(NotebookName="drive", PublicS3Bucket="coco-of-others")
        iam = boto3.client("iam")
        self.assertEqual(len(iam.list_roles()["Roles"]), 2)
        documents = []
        for policy in iam.list_policies(Scope="Local")["Policies"]:
            found = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
            documents += found["PolicyVersion"]["Document"]["Statement"]
        bucket = outputs["Runs"].split("/")[2]
        writes = [statement["Resource"] for statement in documents if "s3:PutObject" in statement["Action"]]
        self.assertEqual(writes, [f"arn:aws:s3:::{bucket}/runs/*"])
        self.assertIn("arn:aws:s3:::coco-of-others/*", list(strings(documents)))
        # Those within roles it takes unread from a template, but not from a person.
        for role in of_type(TEMPLATE.resources(**PREFIX_LIST, NotebookName="drive"), "AWS::IAM::Role").values():
            for policy in role["Policies"]:
                iam.create_policy(PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"]))
        with self.assertRaises(iam.exceptions.MalformedPolicyDocumentException):
            iam.create_policy(PolicyName="bad", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [None]}))

    def test_the_bucket_is_encrypted_and_its_policy_is_taken(self):
        outputs = self.deploy()
        s3 = boto3.client("s3")
        bucket = outputs["Data"].split("/")[2]
        encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
        self.assertEqual(encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "aws:kms")
        policy = TEMPLATE.resources(**PREFIX_LIST)["BucketPolicy"]["Properties"]["PolicyDocument"]
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy).replace("arn:aws:made:::Bucket", f"arn:aws:s3:::{bucket}"))

    def test_a_bucket_that_is_there_is_used(self):
        outputs = self.deploy(ShouldCreateBucket="false", PublicS3Bucket="ours-already")
        self.assertEqual(boto3.client("s3").list_buckets()["Buckets"], [])
        self.assertEqual((outputs["Data"], outputs["Runs"]), ("s3://ours-already/coco", "s3://ours-already/runs"))


if __name__ == "__main__":
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="eu-west-1")
    os.environ.pop("AWS_PROFILE", None)
    os.environ.pop("AWS_ENDPOINT_URL", None)
    unittest.main(argv=sys.argv)
