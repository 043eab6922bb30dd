"""checkov on deploy/, and stack_test.py's list of actions without a resource against IAM's own list, as policy_sentry
has it."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

from environment import DEPLOY, enter

enter(".venv-checkov", "checkov", "policy_sentry", "yaml")

from policy_sentry.querying.actions import get_action_data  # noqa: E402

from template import Template, strings  # noqa: E402
from unscoped_actions import UNSCOPED_ACTIONS  # noqa: E402


def checkov(framework, *files):
    """Reports; nothing is fetched or sent."""
    command = [Path(sys.prefix) / "bin/checkov", "--framework", framework, "--output", "json", "--skip-download"]
    for file in files:
        command += ["--file", file]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"})
    try:
        return json.loads(result.stdout)
    except json.JSONDecodeError:
        raise AssertionError(f"checkov ended with {result.returncode}: {result.stdout[-2000:]}{result.stderr[-2000:]}") from None


class Checkov(unittest.TestCase):
    def assert_clean(self, report, least):
        failed = [f"{check['check_id']} {check['check_name']}: {check['resource']}, line {check['file_line_range'][0]}"
                  for check in report["results"]["failed_checks"]]
        self.assertEqual(failed, [])
        self.assertEqual(report["summary"]["parsing_errors"], 0)
        self.assertGreaterEqual(report["summary"]["passed"], least)

    def test_the_stack_is_clean_and_every_exception_has_a_reason(self):
        report = checkov("cloudformation", DEPLOY / "cloudformation/atoll.yaml")
        self.assert_clean(report, 60)
        skipped = {(check["check_id"], check["resource"]): check["check_result"]["suppress_comment"]
                   for check in report["results"]["skipped_checks"]}
        self.assertEqual(skipped.keys(), {("CKV_AWS_33", "AWS::KMS::Key.Key"), ("CKV_AWS_18", "AWS::S3::Bucket.Bucket")})
        self.assertTrue(all(len(reason) > 20 for reason in skipped.values()), skipped)


class Iam(unittest.TestCase):
    def resources_of(self, action):
        service, name = action.split(":")
        known = get_action_data(service, name)
        self.assertTrue(known, f"{action} is no action")
        return {entry["resource_arn_format"] for entry in known[service]}

    def test_actions_on_everything_know_nothing_narrower(self):
        for action in UNSCOPED_ACTIONS:
            self.assertEqual(self.resources_of(action), {"*"}, action)

    def test_every_action_exists_and_those_with_a_resource_know_one(self):
        template = Template.read(DEPLOY / "cloudformation/atoll.yaml").resources(
            S3PrefixListId="pl-01234567", NotebookName="drive", PublicS3Bucket="coco-of-others")
        services = ("s3", "kms", "ec2", "ecr", "logs", "fsx", "sts", "iam", "sagemaker", "cloudwatch")
        actions = {text for text in strings(template) if text.partition(":")[0] in services and "*" not in text
                   and text.partition(":")[2][:1].isupper()}
        actions -= {"ec2:Vpc", "kms:CallerAccount", "kms:ViaService", "kms:GrantIsForAWSResource", "iam:PassedToService"}
        self.assertGreater(len(actions), 30)
        for action in actions - UNSCOPED_ACTIONS:
            self.assertNotEqual(self.resources_of(action), {"*"}, action)


if __name__ == "__main__":
    unittest.main()
