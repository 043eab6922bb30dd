"""The image's build files, as far as they can be tried without docker: deploy/docker.

hadolint and shellcheck look at them where they are installed; docker and aws are played by scripts that write down how they
were called.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "deploy/docker"
SCRIPT = DOCKER / "build_and_push.sh"

FAKE_DOCKER = """#!/bin/sh
echo "docker $*" >>"$CALLS"
[ "$1" != login ] || cat >/dev/null
[ "$FAILS" != "docker $1" ]
"""
FAKE_AWS = """#!/bin/sh
echo "aws $*" >>"$CALLS"
[ "$FAILS" != "aws $1 $2" ] || { echo "an error occurred ($REASON)" >&2; exit 254; }
case "$1 $2" in
  "sts get-caller-identity") echo 123456789012 ;;
  "ecr get-login-password") echo secret ;;
esac
"""


class Dockerfile(unittest.TestCase):
    def setUp(self):
        # Lines that go on are one.
        self.text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())

    def test_what_it_copies_is_there_and_not_ignored(self):
        ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split()
        self.assertEqual(ignored[ignored.index("*")], "*")
        kept = [line[1:] for line in ignored if line.startswith("!")]
        for name in kept:
            self.assertTrue((ROOT / name).exists(), name)
        for folder in re.findall(r"^\s*add_subdirectory\((\w+)\)", (ROOT / "CMakeLists.txt").read_text(), re.M):
            self.assertIn(folder, kept)
        for source in re.findall(r"^COPY (?!--from)(\S+) ", self.text, re.M):
            self.assertTrue(source == "." or source in kept, source)

    def test_stages_are_there_before_they_are_used(self):
        stages = []
        for line in self.text.splitlines():
            stage = re.match(r"FROM (\S+) AS (\S+)", line)
            copied = re.match(r"COPY --from=(\S+)", line)
            if stage:
                self.assertTrue(stage[1] == "${BASE}" or stage[1] in stages, line)
                stages.append(stage[2])
            elif copied:
                self.assertIn(copied[1], stages)
        self.assertTrue({"cpu", "cuda"} <= set(stages))

    def test_the_base_is_pinned_and_the_entry_point_is_no_shell(self):
        base = re.search(r"^ARG BASE=(\S+)$", self.text, re.M)[1]
        self.assertRegex(base, r":\d|@sha256:")
        for target in ("cpu", "cuda"):
            stage = self.text.split(f"AS {target}\n")[1].split("\nFROM ")[0]
            self.assertIn('ENTRYPOINT ["/opt/atoll/bin/atoll"]', stage)
        self.assertIn("ln -s /opt/atoll/bin/atoll /usr/local/bin/train", self.text)

    def test_its_commands_are_valid_shell(self):
        commands = re.findall(r"^RUN (.*)$", self.text, re.M)
        self.assertGreater(len(commands), 6)
        for command in commands:
            checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
            self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_the_linters_are_content(self):
        for linter, file in (("hadolint", DOCKER / "Dockerfile"), ("shellcheck", SCRIPT)):
            if shutil.which(linter):
                checked = subprocess.run([linter, file], capture_output=True, text=True)
                self.assertEqual(checked.returncode, 0, checked.stdout)


class BuildAndPush(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.calls_file = self.folder / "calls"
        for tool in ("bash", "dirname", "cat"):
            (self.folder / tool).symlink_to(shutil.which(tool))

    def install(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def run_script(self, *arguments, fails="", reason="", **variables):
        environment = {"PATH": str(self.folder), "CALLS": str(self.calls_file), "FAILS": fails, "REASON": reason}
        self.calls_file.write_text("")
        result = subprocess.run(
            ["bash", SCRIPT, *arguments], env={**environment, **variables}, capture_output=True, text=True, timeout=60
        )
        self.calls = self.calls_file.read_text()
        return result

    def test_help_and_bad_usage(self):
        self.assertTrue(os.access(SCRIPT, os.X_OK))
        self.assertIn("--target cpu|cuda", self.run_script("--help").stdout)
        for arguments in (("--target", "tpu"), ("--user", "me"), ("--tag",), ("--push",), ("image",)):
            result = self.run_script(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

    def test_what_is_missing_is_named(self):
        self.assertIn("docker is not installed", self.run_script().stderr)
        self.install("docker", FAKE_DOCKER)
        self.assertIn("docker does not answer", self.run_script(fails="docker info").stderr)
        self.assertIn("the AWS command line is not installed", self.run_script().stderr)
        self.install("aws", FAKE_AWS)
        self.assertIn("no region", self.run_script().stderr)
        refused = self.run_script(AWS_REGION="eu-west-1", fails="aws sts get-caller-identity")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("does not know who you are", refused.stderr)

    def test_it_builds_and_pushes_and_says_the_uri_last(self):
        self.install("docker", FAKE_DOCKER)
        self.install("aws", FAKE_AWS)
        uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/atoll:cuda"
        result = self.run_script("--region", "eu-west-1", "--build-arg", "EFA_VERSION=")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, uri + "\n")
        self.assertIn("docker login --username AWS --password-stdin 123456789012.dkr.ecr.eu-west-1.amazonaws.com", self.calls)
        self.assertRegex(self.calls, rf"buildx build .*--target cuda .*--build-arg EFA_VERSION= .*--push -t {uri} \.")
        self.assertNotIn("create-repository", self.calls)

    def test_a_repository_that_is_missing_is_made_and_another_refusal_is_told(self):
        self.install("docker", FAKE_DOCKER)
        self.install("aws", FAKE_AWS)
        look = "aws ecr describe-repositories"
        made = self.run_script("--target", "cpu", fails=look, reason="RepositoryNotFoundException", AWS_REGION="cn-north-1")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertIn("aws ecr create-repository --region cn-north-1 --repository-name atoll", self.calls)
        self.assertIn(".amazonaws.com.cn/atoll:cpu", made.stdout)
        denied = self.run_script(fails=look, reason="AccessDeniedException", AWS_REGION="eu-west-1")
        self.assertEqual(denied.returncode, 1)
        self.assertIn("AccessDeniedException", denied.stderr)
        self.assertNotIn("docker login", self.calls)

    def test_a_build_that_stays_here_needs_no_aws(self):
        self.install("docker", FAKE_DOCKER)
        result = self.run_script("--no-push", "--target", "cpu", "--name", "mine", "--tag", "1", "--user", "atoll")
        self.assertEqual(result.stdout, "mine:1\n")
        self.assertRegex(self.calls, r"--target cpu --build-arg ATOLL_USER=atoll .*--load -t mine:1 \.")
        failed = self.run_script("--no-push", fails="docker buildx")
        self.assertEqual(failed.returncode, 1)


if __name__ == "__main__":
    unittest.main()
