"""./run itself, as far as it can be tried without installing or building anything."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parent.parent
SERVER_SCRIPTS = [f"tests/s3_server/{name}.sh" for name in ("fetch", "start", "stop")]


def run(*arguments, **options):
    return subprocess.run([ROOT / "run", *arguments], capture_output=True, text=True, timeout=60, **options)


def function(name, *arguments):
    """Calls one of the script's functions."""
    script = f'. "{ROOT}/run"; {name} "$@"'
    return subprocess.run(["bash", "-c", script, "bash", *arguments], capture_output=True, text=True, timeout=60)


class Run(unittest.TestCase):
    def test_the_scripts_parse(self):
        for script in ("run", ".ci/run", "fuzz/run_targets.sh", *SERVER_SCRIPTS):
            subprocess.run(["bash", "-n", ROOT / script], check=True)
            self.assertTrue(os.access(ROOT / script, os.X_OK), script)

    def test_help_names_every_command(self):
        result = run("help")
        self.assertEqual(result.returncode, 0, result.stderr)
        names = (ROOT / "run").read_text().split("COMMANDS=(")[1].split(")")[0].split()
        for name in set(names) - {"help"}:
            self.assertRegex(result.stdout, rf"(?m)^  {name}\b")
        self.assertEqual(run().stdout, result.stdout)
        self.assertEqual(run("--help").stdout, result.stdout)

    def test_a_mistyped_command_is_bad_usage_and_the_nearest_is_named(self):
        result = run("buidl")
        self.assertEqual(result.returncode, 2)
        self.assertIn("did you mean build?", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)

    def test_arguments_that_a_command_does_not_know_are_bad_usage(self):
        for command in (
            ("setup", "--gpu"),
            ("test", "--fast"),
            ("format", "src"),
            ("fuzz", "long"),
            ("demo", "now"),
            ("bench", "nothing"),
            ("bench",),
            ("reference", "nothing"),
        ):
            result = run(*command)
            self.assertEqual(result.returncode, 2, (command, result.stderr))
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

    def test_another_distribution_is_refused_in_one_line(self):
        with tempfile.NamedTemporaryFile("w") as release:
            release.write('ID=fedora\nVERSION_ID=41\nPRETTY_NAME="Fedora Linux 41"\n')
            release.flush()
            result = function("check_distribution", release.name)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Debian 12 and Ubuntu 24.04, this is Fedora Linux 41", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)

    def test_the_distributions_we_know_are_accepted(self):
        for name, version in (("debian", "12"), ("ubuntu", "24.04")):
            with tempfile.NamedTemporaryFile("w") as release:
                release.write(f'ID={name}\nVERSION_ID="{version}"\n')
                release.flush()
                self.assertEqual(function("check_distribution", release.name).returncode, 0)

    def test_too_little_disk_space_is_said_before_anything_is_written(self):
        result = function("need_disk_gb", "9999999", "building")
        self.assertEqual(result.returncode, 1)
        self.assertIn("building needs 9999999 GB of free disk space", result.stderr)
        self.assertEqual(function("need_disk_gb", "0", "building").returncode, 0)

    def test_a_failed_step_names_the_reason_and_the_log(self):
        with tempfile.TemporaryDirectory() as logs:
            for words, reason in (
                ("write: No space left on device", ": the disk is full"),
                ("Temporary failure resolving 'deb.debian.org'", ": no network"),
                ("Connection timed out", ": no network"),
                ("error: expected ';'", ""),
            ):
                result = function("LOGS=" + logs + "; step", "installing", "x", "sh", "-c", f'echo "{words}"; exit 3')
                self.assertEqual(result.returncode, 1)
                last = result.stderr.splitlines()[-1]
                self.assertRegex(last, rf"^run: installing failed after \d+ s{reason}; log: {logs}/x.log$")

    def test_missing_packages_are_found(self):
        result = function("missing_packages", "bash", "no-such-package")
        self.assertEqual(result.stdout.split(), ["no-such-package"])

    def test_a_half_made_environment_is_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder) / "site"
            (site / "thing-1.0.dist-info").mkdir(parents=True)
            (site / "thing.py").write_text("x = 1\n")
            (site / "thing-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
            (site / "thing-1.0.dist-info/RECORD").write_text("thing.py,,6\n")
            (Path(folder) / "bin").mkdir()
            python = Path(folder) / "bin/python"
            python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
            python.chmod(0o755)
            self.assertEqual(function("wheels_are_whole", folder, "thing==1.0").returncode, 0)
            self.assertIn("wanted 2.0", function("wheels_are_whole", folder, "thing==2.0").stderr)
            self.assertIn("missing", function("wheels_are_whole", folder, "other==1.0").stderr)
            (site / "thing.py").write_text("x")
            self.assertIn("damaged", function("wheels_are_whole", folder, "thing==1.0").stderr)

    def test_a_sanitizers_tests_run_again_when_something_has_changed(self):
        def tested(root, preset, *options):
            settings = f"ROOT={root}; quiet_ctest() {{ echo tested; return ${{RESULT:-0}}; }}; {''.join(option + '; ' for option in options)}run_tests"
            return "tested" in function(settings, preset).stdout

        with tempfile.TemporaryDirectory() as root:
            for preset in ("asan", "release"):
                (Path(root) / "build" / preset / "Testing").mkdir(parents=True)
            program = Path(root) / "build/asan/base_test"
            program.write_text("1")
            program.chmod(0o755)
            self.assertTrue(tested(root, "asan", "RESULT=1"))
            self.assertTrue(tested(root, "asan"), "it has not passed")
            self.assertFalse(tested(root, "asan"))
            self.assertTrue(tested(root, "asan", "TEST_ALL=1"))
            program.write_text("12")
            self.assertTrue(tested(root, "asan"), "a program has changed")
            self.assertFalse(tested(root, "asan"))
            (Path(root) / "golden.json").write_text("{}")
            self.assertTrue(tested(root, "asan"), "a file has come")
            self.assertTrue(tested(root, "release"))
            self.assertTrue(tested(root, "release"), "release is always tested")


if __name__ == "__main__":
    unittest.main()
